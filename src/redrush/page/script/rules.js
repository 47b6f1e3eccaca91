// The rules as the campaign has them: made from what is sealed, so that page and event cannot differ.

export function rulesOf(config, speech) {
  const own = config.page.rules?.[speech.language];
  const told = own ? own.split("\n").filter((line) => line.trim()).map((text) => ({ text })) : [];
  const say = (...what) => told.push({ text: speech.say(...what) });
  const window = speech.number(config.policy.start_window_ms / 1000);
  for (const round of config.rounds) {
    const name = round.name || round.id;
    const times = { name, from: speech.when(round.opens, false), to: speech.end(round.opens, round.closes) };
    told.push({ text: speech.say("rule_times", times), head: true });
    told.push(...KINDS[round.kind](round, speech).map((text) => ({ text })));
    if (round.line) say("rule_line");
  }
  // The page asks by itself for packets alone: elsewhere people tap.
  const asks = config.rounds.some((round) => round.kind === "packets");
  if (asks) say("rule_one");
  say(asks ? "rule_fair" : "rule_fair_tap", { window });
  if (config.rounds.some((round) => round.shake)) say("rule_shake");
  return told;
}

const KINDS = {
  packets: (round, speech) => [packets(round, speech)],
  draw: prizes,
  sale: ({ units, price, limit, hold_ms }, speech) => [
    speech.say("rule_sale", { count: speech.number(units), amount: speech.money(price), n: limit, time: speech.span(hold_ms) }),
  ],
};

function prizes(round, speech) {
  const told = round.prizes.map(({ name: title, amount, count, odds }) => {
    const name = amount ? `${title} ${speech.money(amount)}` : title;
    const chance = odds ? speech.say("rule_odds", { odds: `${odds[0]}/${odds[1]}` }) : "";
    return speech.say("rule_prize", { name, count: speech.number(count), odds: chance });
  });
  if (round.plays.per_user) told.push(speech.say("rule_plays", { n: round.plays.per_user }));
  if (round.plays.per_day) told.push(speech.say("rule_plays_day", { n: round.plays.per_day }));
  return told;
}

function packets(round, speech) {
  const what = speech.say("rule_packets", { count: speech.number(round.packets), total: speech.money(round.total) });
  const each =
    round.min === round.max
      ? speech.say("rule_equal", { amount: speech.money(round.min) })
      : speech.say("rule_lucky", { min: speech.money(round.min), max: speech.money(round.max) });
  return `${what}${speech.language === "zh" ? "。" : ". "}${each}`;
}

// The rules as the campaign has them: made from what is sealed, so that page and event cannot differ.

export function rulesOf(config, speech) {
  const own = config.page.rules?.[speech.language];
  const told = own ? own.split("\n").filter((line) => line.trim()) : [];
  const window = speech.number(config.policy.start_window_ms / 1000);
  for (const round of config.rounds) {
    const name = round.name || round.id;
    told.push(speech.say("rule_times", { name, from: speech.when(round.opens), to: speech.when(round.closes) }));
    if (round.total) told.push(packets(round, speech));
  }
  told.push(speech.say("rule_one"), speech.say("rule_fair", { window }));
  if (config.rounds.some((round) => round.shake)) told.push(speech.say("rule_shake"));
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

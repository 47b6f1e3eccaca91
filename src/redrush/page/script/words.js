// What the page says, in Chinese and English. `{x}` stands for a value. A campaign's own texts go before these.

export const WORDS = {
  zh: {
    language: "English",
    skip: "跳到主要内容",
    sound: "声音",
    loading: "正在连接……",
    loading_line: "马上就好。",
    unreached: "暂时连不上",
    unreached_line: "页面会自己继续尝试，不用刷新。已经抢到的不会丢。",
    nobody: "请从您的专属入口进入",
    nobody_line: "抢红包需要知道您是谁。请点击下面的按钮登录，或打开发给您本人的链接。",
    nobody_line_no_login: "抢红包需要知道您是谁。请打开发给您本人的链接。",
    link_cut: "这个链接没有复制完整。请再打开一次发给您本人的链接，已经抢到的不会丢。",
    login: "登录",
    expired: "登录已过期",
    expired_line: "重新登录后会回到这里，已经抢到的不会丢。",
    expired_line_no_login: "请重新打开发给您本人的链接，已经抢到的不会丢。",
    before: "距离开抢",
    before_auto: "到点自动帮您抢，不用抢着点。刷新也没关系。",
    before_tap: "到点后点一下就行，人人机会相同，手快不会占便宜。",
    before_shake: "到点后摇一摇手机，或者点按钮，机会一样。",
    before_pressed: "还没开始，再等 {time}。",
    by_server_time: "按服务器时间，与您手机的时钟无关",
    opens_at: "{when} 开抢",
    opens_at_draw: "{when} 开始抽奖",
    moved: "开抢时间改为 {when}。",
    auto: "到点自动帮我抢",
    remind: "加到日历提醒",
    remind_wechat: "微信里打不开日历，请用右上角菜单“在浏览器打开”。",
    try_shake: "用手机摇一摇",
    shake_on: "可以摇了，摇一摇试试。",
    shake_felt: "感觉到了！",
    shake_denied: "没有得到使用传感器的许可。没关系，点按钮效果一样。",
    shake_absent: "没有感觉到摇动。没关系，点按钮效果一样。",
    shake_off: "关闭摇一摇",
    ready: "开抢啦！",
    ready_line: "点一下金币。",
    ready_shake: "摇一摇，或者点一下金币。",
    ready_sale: "{name}，{amount}。点一下金币。",
    asking: "正在抢……",
    asking_line: "只问一次就够了，多点不会更快。",
    missed: "这次没抢到",
    missed_auto: "别急，马上自动再试。",
    missed_tap: "再来一次，机会还在。",
    waiting: "人太多啦",
    given_up: "暂时没有结果",
    again: "再试一次",
    sealed: "您抢到了！",
    sealed_line: "点一下，打开看看。",
    won: "恭喜您！",
    won_line: "已经记在您名下，刷新、换手机都在。",
    empty: "红包抢完了",
    empty_line: "这一场的红包都找到了主人。祝您新年快乐，好运常在！",
    sale_empty: "卖完了",
    sale_empty_line: "这一场的货都有了主人。谢谢您来！",
    draw_empty: "奖品发完了",
    draw_empty_line: "这一场的奖品都找到了主人。祝您新年快乐，好运常在！",
    group_empty: "这个红包领完了",
    group_empty_line: "里面的每一份都有了主人。祝您新年快乐，好运常在！",
    group_closed: "这个红包已经结束了",
    group_closed_line: "它不再发给任何人了。祝您新年快乐！",
    closed: "这一场结束了",
    closed_line: "谢谢您来。祝您新年快乐！",
    not_eligible: "这一场不在您的范围内",
    not_eligible_line: "这一场只对部分朋友开放。如果您认为不对，请联系主办方。",
    refused: "请求没有被接受",
    refused_line: "请稍后再打开这个页面。已经抢到的不会丢。",
    next: "下一场 {when}",
    offline: "您现在离线。网络恢复后页面会自己继续，已经抢到的不会丢。",
    proving: "正在为您做准备（{percent}%）……",
    inline: "您在排队",
    inline_line: "位置已经记好，关掉页面也不会丢；多点多刷不会更快。",
    inline_drawn: "开始时抽签决定先后，来得早晚都一样。",
    inline_ahead: "您前面大约有 {count} 人，预计 {from} 到 {to}。",
    inline_turn: "轮到您了，正在进场……",
    inline_paused: "主办方让队伍停一会儿，位置不变。",
    line_closed: "队伍已经满了",
    line_closed_line: "这一场不能再排队了。谢谢您来。",
    line_opens: "{when} 开始排队",
    draw_ready: "可以抽奖啦！",
    draw_asking: "正在抽……",
    draw_left: "还能抽 {n} 次",
    draw_missed: "这次没有中",
    draw_line: "点一下金币，抽一次。",
    played: "您的次数用完了",
    played_line: "谢谢参与，祝您好运常在！",
    played_next: "下次可抽：{when}",
    play_again: "再抽一次（还有 {n} 次）",
    prize_won: "您中奖了！",
    code: "兑换码 {code}",
    held: "给您留着了",
    held_line: "请在倒计时结束前付款，过时会让给别人。",
    pay: "去付款 {amount}",
    pay_open: "打开付款页",
    pay_wait: "正在联系收款方，请稍候……",
    pay_code: "付款码：{code}",
    paying: "等您付款",
    paying_line: "请在倒计时结束前付款。付好后这里会自动显示，不用刷新。",
    paying_ends: "正在和收款方核对，请稍候；多付的会原路退回。",
    bought: "买到了！",
    bought_line: "已经付款，这一件是您的。",
    bought_shop: "已经付款，店家已经收到订单。",
    late: "付款来晚了一点",
    late_line: "钱已收到，正在看还有没有货；没有就原路退回，一分不少。",
    refunded: "已经退款",
    refunded_line: "这一件没有买成，钱已按原路退回。",
    refunding: "正在退款",
    refunding_line: "这一件没有买成，钱正按原路退回，一分不少。",
    hold_over: "保留时间到了，已经让给别人。还可以再试。",
    address: "送到哪里（店家认识的地址名，可不填）",
    address_wrong: "这个地址店家用不了，请改一下或留空，再付款。",
    send_pay: "请付款：付好后红包自动打开，不用刷新。",
    send_cancel: "不发了",
    send_cancelled: "已取消，没有扣款。",
    pay_failed: "暂时不能付款，请再点一次。已经留给您的不会丢。",
    give_back: "不要了，让给别人",
    given_back: "已经退回，谢谢您让给别人。",
    held_out: "都被人先留下了",
    held_out_line: "有人不付款时会放出来。{when} 会自动再试，请别关页面。",
    limit: "您已经拿到能拿的数量了",
    limit_line: "每人有上限，把机会留给别人吧。",
    wrong_word: "口令不对",
    wrong_word_line: "看看发红包的人说的是什么，再试一次。",
    say_word: "输入口令",
    packet_from: "{name} 的红包",
    packet_of_friend: "朋友的红包",
    packet_word: "说对口令，就能打开。",
    no_packet: "没有这个红包",
    no_packet_line: "链接可能不完整，或者红包已经不在了。请让发红包的人再发一次链接。",
    to_event: "去看活动",
    packet_luck: "手气最佳：{name} {amount}",
    pass_on: "发给朋友一个红包",
    passed_on: "红包链接已复制，发给朋友吧。",
    rule_prize: "{name}：共 {count} 份{odds}",
    rule_odds: "，每次中奖机会 {odds}",
    rule_plays: "每人最多 {n} 次。",
    rule_plays_day: "每人每天最多 {n} 次。",
    rule_sale: "{count} 件，每件 {amount}，每人最多 {n} 件；抢到后保留 {time}，未付款的会重新放出。",
    rule_line: "开始前先排队，位置签过名，刷新不会丢。",
    send: "给大家发红包",
    send_total: "总金额",
    send_count: "红包个数",
    send_kind: "怎么分",
    send_lucky: "拼手气",
    send_equal: "每个一样多",
    send_greeting: "祝福语",
    send_word: "口令（可不填）",
    send_go: "塞钱进红包",
    send_busy: "正在准备……",
    qr_link: "用另一部手机扫一扫，打开这个红包",
    qr_pay: "用手机扫一扫付款",
    send_done: "红包好了，链接已复制，发给朋友吧：{link}",
    send_unpaid: "红包还没有付款：{why}",
    send_failed: "没有发出去：{why}",
    why_amount: "金额请写成 {example} 这样的数字。",
    why_total: "每份从 {least} 到 {most}，您今天还能发 {left}。",
    why_count: "红包个数是 1 到 {count}。",
    why_greeting: "祝福语太长，或者有看不见的字符。",
    why_word: "口令要有 {least} 到 {most} 个字，空格不算。",
    why_short: "余额只有 {available}；刚刚抢到的可能还没有记上。",
    why_day: "您今天只能再发 {available}。",
    why_busy: "现在人太多，请过一会儿再试。",
    why_expired: "登录已过期，请重新进入这个页面。",
    why_unreached: "暂时连不上，请过一会儿再看。",
    why_unpaid: "还没有收到付款。",
    why_other: "请看看填写的内容，或者过一会儿再试。",
    tag_packets: "共 {count} 个红包",
    tag_prize: "大奖",
    tag_ahead: "您前面大约有",
    tag_people: "{count} 人",
    left_plenty: "还有很多",
    left_some: "还有",
    left_few: "所剩不多了",
    left_held: "都在别人手里，可能还会放出来",
    left_none: "已经没有了",
    mine: "我抢到的",
    mine_total: "共 {amount}",
    share: "晒一晒",
    share_text: "我在“{name}”抢到了红包！",
    copied: "链接已复制。",
    receipt: "凭证号",
    rounds: "场次",
    rules: "活动规则",
    rule_times: "{name}：{from} 至 {to}",
    rule_packets: "共 {count} 个红包，合计 {total}",
    rule_equal: "每个 {amount}。",
    rule_lucky: "每个 {min} 到 {max}，金额随机，开抢前就已经分好，谁也改不了。",
    rule_one: "每人每场最多一个。",
    rule_fair: "请求在开抢后的 {window} 秒内随机送出，人人机会相同；手速、网速和刷新都不影响机会。",
    rule_fair_tap: "一开始就点的，请求会在 {window} 秒内的随机时刻送出，手速和网速再快也占不了便宜。",
    rule_shake: "每次尝试都可能落空，可以一直试到抢完或结束。",
    go_before: "等一等，还没开始",
    go_ready: "抢红包",
    go_asking: "正在抢",
    go_again: "再来一次",
    go_sealed: "打开红包",
    coin_before: "等",
    coin_ready: "抢",
    coin_asking: "抢",
    coin_again: "再来",
    coin_ready_draw: "抽",
    coin_asking_draw: "抽",
    coin_again_draw: "再抽",
    go_ready_draw: "抽奖",
    go_asking_draw: "正在抽",
    go_again_draw: "再抽一次",
    go_ready_sale: "抢购",
    coin_sealed: "开",
    opens_in_words: "还有 {time}",
    days: "{n} 天",
    d: "{n} 天",
    h: "{n} 小时",
    m: "{n} 分钟",
    s: "{n} 秒",
    greeting: "恭喜发财，大吉大利",
    close_mine: "场次 {round}",
  },
  en: {
    language: "中文",
    skip: "Skip to the main part",
    sound: "Sound",
    loading: "Connecting …",
    loading_line: "Just a moment.",
    unreached: "Out of reach for now",
    unreached_line: "This page keeps trying by itself, no need to reload. What you have won stays yours.",
    nobody: "Please come in by your own door",
    nobody_line: "We need to know who you are. Log in below, or open the link that was sent to you.",
    nobody_line_no_login: "We need to know who you are. Please open the link that was sent to you.",
    link_cut: "This link was cut short. Please open the one that was sent to you again; what you have won stays yours.",
    login: "Log in",
    expired: "Your login has expired",
    expired_line: "Log in again and you are back here. What you have won stays yours.",
    expired_line_no_login: "Please open the link that was sent to you again. What you have won stays yours.",
    before: "Opens in",
    before_auto: "We ask for you at the opening: no need to be quick. Reloading does no harm.",
    before_tap: "One tap once it is open. Everybody's chance is the same, fast fingers do not help.",
    before_shake: "Once it is open, shake your phone or press the button: both count the same.",
    before_pressed: "Not yet: opens in {time}.",
    by_server_time: "By the server's time, whatever your own clock says",
    opens_at: "Opens {when}",
    opens_at_draw: "The draw opens {when}",
    moved: "The opening was moved to {when}.",
    auto: "Ask for me at the opening",
    remind: "Remind me (calendar)",
    remind_wechat: "WeChat cannot open calendar files: choose “Open in Browser” in the menu above.",
    try_shake: "Use shakes",
    shake_on: "Ready: give it a shake.",
    shake_felt: "Felt that!",
    shake_denied: "Motion was not allowed. No matter: the button does just the same.",
    shake_absent: "No shake was felt. No matter: the button does just the same.",
    shake_off: "Turn shakes off",
    ready: "It is open!",
    ready_line: "Tap the coin.",
    ready_shake: "Shake, or tap the coin.",
    ready_sale: "{name}, {amount}. Tap the coin.",
    asking: "Asking for you …",
    asking_line: "Asking once is enough; more taps are not faster.",
    missed: "Not this time",
    missed_auto: "Stay calm: we try again in a moment.",
    missed_tap: "Try again, there is still a chance.",
    waiting: "So many people!",
    given_up: "No answer for now",
    again: "Try again",
    sealed: "You have got one!",
    sealed_line: "Tap to open it.",
    won: "Congratulations!",
    won_line: "It is noted as yours: reload, or take another phone, it stays.",
    empty: "All packets are taken",
    empty_line: "Every packet of this round has found somebody. A happy and lucky New Year to you!",
    sale_empty: "Sold out",
    sale_empty_line: "All that was for sale in this round has found somebody. Thank you for coming!",
    draw_empty: "All prizes are gone",
    draw_empty_line: "Every prize of this round has found somebody. A happy and lucky New Year to you!",
    group_empty: "This packet is empty",
    group_empty_line: "Every share of it has found somebody. A happy and lucky New Year to you!",
    group_closed: "This packet is closed",
    group_closed_line: "It is given to nobody any more. A happy New Year to you!",
    closed: "This round is over",
    closed_line: "Thank you for coming. A happy New Year!",
    not_eligible: "This round is for others",
    not_eligible_line: "It is open to some people only. If you think that is wrong, please ask the organisers.",
    refused: "The request was not accepted",
    refused_line: "Please open this page again later. What you have won stays yours.",
    next: "Next: {when}",
    offline: "You are offline. This page goes on by itself when the network is back; what you have won stays yours.",
    proving: "Getting ready for you ({percent} %) …",
    inline: "You are in line",
    inline_line: "Your place is noted: closing the page loses nothing, and more taps are not faster.",
    inline_drawn: "Places are drawn at the start, so it does not matter who came first.",
    inline_ahead: "About {count} before you: {from} to {to}.",
    inline_turn: "It is your turn, going in …",
    inline_paused: "The organisers let the line stand for a moment; places stay.",
    line_closed: "The line is full",
    line_closed_line: "Nobody more can join for this round. Thank you for coming.",
    line_opens: "The line opens {when}",
    draw_ready: "The draw is open!",
    draw_asking: "Drawing for you …",
    draw_left: "Tries left: {n}",
    draw_missed: "No prize this time",
    draw_line: "Tap the coin for a try.",
    played: "You have used all your tries",
    played_line: "Thank you for taking part, and good luck!",
    played_next: "Next tries: {when}",
    play_again: "Another try ({n} left)",
    prize_won: "You have won a prize!",
    code: "Code {code}",
    held: "It is kept for you",
    held_line: "Please pay before the time is over; then it goes to somebody else.",
    pay: "Pay {amount}",
    pay_open: "Open the payment",
    pay_wait: "Asking for the payment, just a moment …",
    pay_code: "Payment code: {code}",
    paying: "Waiting for your payment",
    paying_line: "Please pay before the time is over. This page sees it by itself.",
    paying_ends: "Asking whoever takes the money, just a moment; what was paid too much goes back to you.",
    bought: "It is yours!",
    bought_line: "It is paid for.",
    bought_shop: "It is paid for, and the shop has your order.",
    late: "Your payment came a little late",
    late_line: "The money has arrived. If a unit is left it is yours, else all of the money goes back to you.",
    refunded: "Your money went back",
    refunded_line: "You have not bought this one, and your money went back the way it came.",
    refunding: "Your money is on its way back",
    refunding_line: "You have not bought this one; your money is on its way back, to the cent.",
    hold_over: "The time to pay is over and somebody else may have it. You may try again.",
    address: "Where to (as the shop knows it; may be empty)",
    address_wrong: "The shop cannot take that address: change it or leave it empty, and pay again.",
    send_pay: "Please pay: the packet opens by itself once you have.",
    send_cancel: "Do not send it",
    send_cancelled: "It is cancelled; nothing was taken.",
    pay_failed: "The payment cannot begin just now: press once more. What is kept for you stays.",
    give_back: "Give it back",
    given_back: "It is given back, thank you.",
    held_out: "All are kept by somebody",
    held_out_line: "Who does not pay makes room. We try again by ourselves at {when}: please leave the page open.",
    limit: "You have as many as one may",
    limit_line: "There is a limit for everybody.",
    wrong_word: "That is not the word",
    wrong_word_line: "See what the sender says, and try again.",
    say_word: "The word",
    packet_from: "A packet of {name}",
    packet_of_friend: "A friend's packet",
    packet_word: "Say the word, and it opens.",
    no_packet: "There is no such packet",
    no_packet_line: "The link may be cut short, or the packet is no more. Ask whoever sent it for its link again.",
    to_event: "Go to the event",
    packet_luck: "Best luck: {name} {amount}",
    pass_on: "Send a packet to friends",
    passed_on: "The link of the packet is copied: send it to friends.",
    rule_prize: "{name}: {count} in all{odds}",
    rule_odds: ", chance of {odds} each try",
    rule_plays: "Tries a person: at most {n}.",
    rule_plays_day: "Tries a person and day: at most {n}.",
    rule_sale: "{count} at {amount} each, at most {n} a person; kept for {time}, and offered again if not paid.",
    rule_line: "There is a line before the start; places are signed, reloading loses nothing.",
    send: "Send a packet",
    send_total: "Amount in all",
    send_count: "How many shares",
    send_kind: "How it is split",
    send_lucky: "By luck",
    send_equal: "All the same",
    send_greeting: "Greeting",
    send_word: "A word to be said (may be empty)",
    send_go: "Put the money in",
    send_busy: "Getting it ready …",
    qr_link: "A picture for another phone's camera: opens this packet",
    qr_pay: "A picture for a phone's camera: to pay",
    send_done: "Your packet is ready, the link is copied: {link}",
    send_unpaid: "The packet is not paid yet: {why}",
    send_failed: "It was not sent: {why}",
    why_amount: "that is not an amount, write it like {example}.",
    why_total: "a share holds {least} to {most}, and you may give {left} today.",
    why_count: "a packet has from 1 to {count} shares.",
    why_greeting: "the greeting is too long, or has signs that cannot be seen.",
    why_word: "a word has {least} to {most} signs, white space not counted.",
    why_short: "your balance is {available}; what you won in the last seconds may not be in it yet.",
    why_day: "you may give only {available} more today.",
    why_busy: "it is very busy just now, please try again a little later.",
    why_expired: "your login has expired, please come in again.",
    why_unreached: "out of reach for now, please look again a little later.",
    why_unpaid: "no payment has arrived.",
    why_other: "please look at what you have written, or try again a little later.",
    tag_packets: "{count} packets",
    tag_prize: "Top prize",
    tag_ahead: "People before you, about",
    tag_people: "{count}",
    left_plenty: "Plenty left",
    left_some: "Some are left",
    left_few: "Only few left",
    left_held: "All are held by somebody, some may come back",
    left_none: "None left",
    mine: "What I have won",
    mine_total: "{amount} in all",
    share: "Share",
    share_text: "I have won a red packet at “{name}”!",
    copied: "The link is copied.",
    receipt: "Number",
    rounds: "Rounds",
    rules: "Rules",
    rule_times: "{name}: {from} to {to}",
    rule_packets: "{count} packets, {total} in all",
    rule_equal: "{amount} each.",
    rule_lucky: "{min} to {max} each, at random. The amounts were fixed before the opening and nobody can change them.",
    rule_one: "At most one packet a person and round.",
    rule_fair: "Requests go out at random within {window} s of the opening, so everybody's chance is the same: fast fingers, fast networks and reloading do not help.",
    rule_fair_tap: "Whoever taps at once is sent out at a random instant within {window} s of the opening: the fastest fingers and networks gain nothing.",
    rule_shake: "A try may miss; you may try until all are taken or the round is over.",
    go_before: "Wait, it is not open yet",
    go_ready: "Get a packet",
    go_asking: "Asking for a packet …",
    go_again: "Try again",
    go_sealed: "Open the packet",
    coin_before: "wait",
    coin_ready: "get",
    coin_asking: "…",
    coin_again: "again",
    coin_ready_draw: "draw",
    coin_asking_draw: "…",
    coin_again_draw: "again",
    go_ready_draw: "Draw a prize",
    go_asking_draw: "Drawing for you …",
    go_again_draw: "Draw again",
    go_ready_sale: "Get one",
    coin_sealed: "open",
    opens_in_words: "{time} to go",
    days: "{n} d",
    d: "{n} d",
    h: "{n} h",
    m: "{n} min",
    s: "{n} s",
    greeting: "Wishing you a prosperous New Year",
    close_mine: "Round {round}",
  },
};

export const fill = (text, values = {}) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const twoDigits = (n) => String(n).padStart(2, "0");

// "1234567.80" as "1,234,567.80": text, never a float.
function grouped(amount) {
  const [whole, places] = amount.split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (places ? `.${places}` : "");
}

// "GMT+8", "GMT-3:30"
function zoneName(minutes) {
  if (!minutes) return "GMT";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `GMT${minutes < 0 ? "-" : "+"}${hours}${rest ? `:${twoDigits(rest)}` : ""}`;
}

// Dates and amounts are put together here: the first that a browser formats by itself keeps a slow telephone busy for long.
export class Speech {
  // `event`: clocks [[since in ms, minutes ahead of UTC], …], currency and sign, as the document has them.
  constructor(language, own, event) {
    this.language = language;
    this.own = own?.[language] || {};
    this.words = { ...WORDS[language], ...this.own };
    this.event = event;
  }

  say(key, values) {
    return fill(this.words[key] ?? key, values);
  }

  // The first of these texts that the campaign has of its own; without one the first that there is.
  sayFirst(...names) {
    return this.say(names.find((name) => name in this.own) ?? names.find((name) => name in this.words) ?? names.at(-1));
  }

  // An instant (ms since the epoch) in the event's zone, which is named where the device has another one.
  when(ms, zoned = true) {
    return this.date(ms) + this.there(ms).toISOString().slice(11, 16) + (zoned ? this.zone(ms) : "");
  }

  date(ms) {
    const at = this.there(ms);
    const [month, day] = [at.getUTCMonth(), at.getUTCDate()];
    return this.language === "zh" ? `${month + 1}月${day}日 ` : `${day}\u00a0${MONTHS[month]}, `;
  }

  // The end of what began then, the day of it only where it is another one.
  end(began, ms) {
    return this.date(began) === this.date(ms) ? this.when(ms).slice(this.date(ms).length) : this.when(ms);
  }

  // The same within a day, to the second: "20:00:07".
  time(ms) {
    return this.there(ms).toISOString().slice(11, 19) + this.zone(ms);
  }

  // Minutes that the event's clocks are ahead of UTC.
  ahead(ms) {
    const { clocks } = this.event;
    return (clocks.filter(([since]) => since <= ms).pop() || clocks[0])[1];
  }

  // A date that shows, as that of UTC, what the event's clocks show.
  there(ms) {
    return new Date(ms + this.ahead(ms) * 60000);
  }

  zone(ms) {
    const ahead = this.ahead(ms);
    return new Date(ms).getTimezoneOffset() === -ahead ? "" : ` (${zoneName(ahead)})`;
  }

  money(amount, currency) {
    return this.parts(amount, currency).join("");
  }

  // The sign of the currency and the amount as it was told.
  parts(amount, currency = this.event.currency) {
    return [currency === this.event.currency ? this.event.sign : `${currency} `, grouped(amount)];
  }

  number(count) {
    return grouped(String(count));
  }

  // A span in the two largest units, for whoever listens.
  span(ms) {
    let seconds = Math.max(0, Math.ceil(ms / 1000));
    const told = [];
    for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]) {
      const n = Math.floor(seconds / size);
      seconds -= n * size;
      if (n) told.push(this.say(unit, { n }));
    }
    return (told.slice(0, 2).join(" ") || this.say("s", { n: 0 })).replace(/ /g, "\u00a0");
  }

  // The same as digits: "2 d 03:04:05", "04:05".
  digits(ms) {
    const seconds = Math.max(0, Math.ceil(ms / 1000));
    const days = Math.floor(seconds / 86400);
    const [h, m, s] = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60];
    const clock = days || h ? `${twoDigits(h)}:${twoDigits(m)}:${twoDigits(s)}` : `${twoDigits(m)}:${twoDigits(s)}`;
    return days ? `${this.say("days", { n: days })} ${clock}` : clock;
  }
}

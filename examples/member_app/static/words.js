// What the app says, in both languages.  {amount} and the like are filled in.

const ZH = {
  balance: "可用余额", bonus: "含赠送 {amount}", topup: "充值", goods: "会员专享", lines: "最近动态", nothing: "还没有记录，先充一笔吧。",
  buy: "购买", owned: "已购 {count} 件", bought: "购买成功，到店出示即可。", too_little: "余额不足，请先充值。", buy_unknown: "网络不稳，还不知道是否成功。再按一次不会重复扣款。",
  watching: "有一笔 {amount} 充值正在核实", look: "查看", offline: "连不上茶舍，请检查网络。", again: "重试",
  choose: "充多少？", choose_lead: "到账后可在茶舍消费，赠送部分同样可用。", gift: "送 {amount}", with: "支付方式", pay: "去支付 {amount}",
  alipay: "支付宝", wechatpay: "微信支付", unionpay: "云闪付", cancel: "取消",
  wallet: "沙箱里的{wallet}", wallet_note: "真实 App 在这里调起{wallet}，不会真的扣款。", approve: "确认付款", decline: "余额不足（拒绝）", leave: "返回商家", lose: "付款后 App 被系统关闭",
  step1: "下单", step2: "钱包付款", step3: "等待结果", step4: "后台核实",
  asking: "正在下单…", asking_lead: "稍等，正在向钱包下单。", checking: "正在核实…", checking_lead: "以茶舍后台为准，请稍候。",
  slow: "还没有结果", slow_paid: "钱包说已付款，但茶舍还没核实到账。请不要重复付款，到账后余额会自动更新。", slow_unknown: "暂时不知道是否付款成功。请不要重复付款，结果一到这里就会更新。",
  ask_again: "现在再查一次", later: "先去逛逛",
  done: "充值成功", done_lead: "{amount} 已到账。", done_bonus: "{amount} 已到账，另送 {bonus}。", fine: "好的",
  canceled: "没有付款", canceled_lead: "您离开了钱包，没有扣款。", failed: "付款没有成功", failed_lead: "钱包拒绝了这笔付款，没有扣款。", retry: "再试一次", not_now: "暂不充值", other_way: "换一种方式",
  ended: "订单已过期", ended_lead: "没有扣款。需要的话请重新充值。", refused: "钱包暂时不可用", refused_lead: "没有扣款，请换一种支付方式。", away: "没连上", away_lead: "还没开始付款。再试一次会接着同一笔订单，不会重复。",
  kind_topup: "充值", kind_debit: "消费", kind_topup_taken_back: "充值退款", kind_topup_given_back: "退款退回", kind_topup_taken_again: "充值退款", kind_reversal: "消费退回", kind_adjustment: "人工调整",
  lab: "沙箱：钱包的结果通知", lab_: "正常", lab_drop: "丢失", lab_delay: "迟到 10 秒", lab_duplicate: "重复 4 次",
};

const EN = {
  balance: "Available", bonus: "{amount} of it a gift", topup: "Top up", goods: "For members", lines: "Lately", nothing: "Nothing yet. Begin with a top-up.",
  buy: "Buy", owned: "{count} bought", bought: "Bought. Show it at the counter.", too_little: "Your balance is too low. Top up first.", buy_unknown: "The line is bad, and nothing is known yet. Pressing again takes nothing twice.",
  watching: "A top-up of {amount} is being checked", look: "Look", offline: "The tea house cannot be reached. Check your connection.", again: "Try again",
  choose: "How much?", choose_lead: "Spend it at the tea house, the gift included.", gift: "+ {amount} gift", with: "Pay with", pay: "Pay {amount}",
  alipay: "Alipay", wechatpay: "WeChat Pay", unionpay: "UnionPay", cancel: "Cancel",
  wallet: "{wallet}, in the sandbox", wallet_note: "A real app opens {wallet} here. No money moves.", approve: "Confirm payment", decline: "Balance too low (decline)", leave: "Back to the shop", lose: "Pay, and the app is killed",
  step1: "Order", step2: "Wallet", step3: "Result", step4: "Checked",
  asking: "Placing the order…", asking_lead: "One moment: the wallet is being asked.", checking: "Checking…", checking_lead: "The tea house's books decide.",
  slow: "No result yet", slow_paid: "The wallet says it is paid, and the tea house has not seen it yet. Do not pay again: your balance follows by itself.", slow_unknown: "Nobody knows yet whether it was paid. Do not pay again: the result appears here.",
  ask_again: "Ask again now", later: "Look around meanwhile",
  done: "Topped up", done_lead: "{amount} is on your balance.", done_bonus: "{amount} is on your balance, and {bonus} as a gift.", fine: "Fine",
  canceled: "Not paid", canceled_lead: "You left the wallet. Nothing was taken.", failed: "The payment failed", failed_lead: "The wallet refused it. Nothing was taken.", retry: "Try again", not_now: "Not now", other_way: "Another way",
  ended: "Too late", ended_lead: "The order has ended, and nothing was taken. Begin another.", refused: "This wallet is away", refused_lead: "Nothing was taken. Choose another.", away: "No connection", away_lead: "Nothing has begun. Trying again goes on with the same order.",
  kind_topup: "Top-up", kind_debit: "Spent", kind_topup_taken_back: "Top-up refunded", kind_topup_given_back: "Refund failed", kind_topup_taken_again: "Top-up refunded", kind_reversal: "Given back", kind_adjustment: "Adjusted by hand",
  lab: "Sandbox: the wallet's callbacks", lab_: "Normal", lab_drop: "Lost", lab_delay: "10 s late", lab_duplicate: "4 times",
};

export const zh = document.documentElement.lang.startsWith("zh");

export function say(name, facts = {}) {
  return (zh ? ZH : EN)[name].replace(/\{(\w+)\}/g, (_, key) => facts[key]);
}

export function yuan(fen) {
  const sign = fen < 0 ? "−" : "";
  return `${sign}¥${(Math.abs(fen) / 100).toLocaleString("en", { minimumFractionDigits: 2 })}`;
}

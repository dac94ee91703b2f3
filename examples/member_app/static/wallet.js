// The wallet.  In your app this file is the wallets' mobile SDKs; here a sheet plays them, and the sandbox the network.

import { say, yuan } from "./words.js";

/**
 * Step 2: hand the parameters to the wallet, unchanged, and say what it said: "paid", "canceled", "failed" or
 * "unknown".  None of these is a fact.  "killed": the phone ended this app before the wallet could say anything.
 */
export function approveInWallet({ method, amount, params, news, show, el }) {
  return new Promise((done) => {
    const press = async (action, word) => {
      for (const button of buttons) button.disabled = true;
      const said = await sdk(method, params, action, news);
      done(word ?? said);
    };
    const buttons = [
      el("button", { id: "wallet-approve", onclick: () => press("approve") }, say("approve")),
      el("button", { id: "wallet-decline", class: "quiet", onclick: () => press("decline") }, say("decline")),
      el("button", { id: "wallet-cancel", class: "quiet", onclick: () => press("cancel") }, say("leave")),
      el("button", { id: "wallet-lose", class: "plain", onclick: () => press("approve", "killed") }, say("lose")),
    ];
    const wallet = say(method);
    show(
      el("div", { class: `other ${method}` }, el("p", {}, say("wallet", { wallet })), el("p", { class: "price number" }, yuan(amount))),
      el("p", { class: "muted middle" }, say("wallet_note", { wallet })),
      el("div", { class: "deeds" }, ...buttons),
    );
  });
}

/** What the SDK hands back, in each wallet's own words. */
async function sdk(method, params, action, news) {
  try {
    const answer = await fetch(`/wallet/${method}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ params, action, news }) });
    if (!answer.ok) return "unknown";
    const said = await answer.json();
    if (method === "alipay") return { 9000: "paid", 6001: "canceled", 4000: "failed" }[said.resultStatus] ?? "unknown";
    if (method === "wechatpay") return { 0: "paid", "-1": "failed", "-2": "canceled" }[said.errCode] ?? "unknown";
    return { success: "paid", cancel: "canceled", fail: "failed" }[said.pay_result] ?? "unknown";
  } catch {
    return "unknown";
  }
}

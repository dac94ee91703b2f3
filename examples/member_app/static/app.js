// The members' app.  It decides nothing: whether money came is what the tea house's own server says.

import { say, yuan, zh } from "./words.js";
import { approveInWallet } from "./wallet.js";

const POLL_MS = 1500; // while somebody looks at the spinner
const PATIENCE_MS = 10_000; // then it is honest to say that there is no result yet
const WALLETS = ["alipay", "wechatpay", "unionpay"];
const MARKS = { alipay: "支", wechatpay: "微", unionpay: "银" };
const PICTURES = {
  tea: "M4 9h13v5a5 5 0 0 1-5 5H9a5 5 0 0 1-5-5zM17 10h1.5a2.5 2.5 0 0 1 0 5H17M8 3v2.5M12 3v2.5",
  class: "M4 5h7v14H4zM13 5h7v14h-7M7 9h1M16 9h1",
  cup: "M6 5h12l-1.5 13a2 2 0 0 1-2 1.8h-5a2 2 0 0 1-2-1.8zM6.5 10h11",
};

const home = document.getElementById("app");
const sheet = document.getElementById("sheet");
let me = null;
let watcher = 0; // the latest look-out; an older one gives up

/** An element: el("p", { class: "muted" }, "text", child). */
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function drawing(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [key, value] of Object.entries({ d: path, fill: "none", stroke: "currentColor", "stroke-width": 1.8, "stroke-linecap": "round", "stroke-linejoin": "round" })) line.setAttribute(key, value);
  svg.append(line);
  return svg;
}

/** One exchange with our own server.  Throws { error }: "unknown" when nobody knows what became of it. */
async function call(path, body) {
  let answer;
  try {
    answer = await fetch(path, body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    throw { error: "unknown" };
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw { error: said.error || "unknown" };
  return said;
}

function newNumber(letter) {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return letter + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("").toUpperCase();
}

// What is under way is written down before anything is sent, so that a killed app finds it again.
const kept = {
  get: () => JSON.parse(localStorage.getItem("topup") || "null"),
  put: (topup) => localStorage.setItem("topup", JSON.stringify(topup)),
  drop: () => localStorage.removeItem("topup"),
};

// ---- the page

async function refresh() {
  try {
    me = await call("/api/me");
  } catch {
    if (me) return;
    home.replaceChildren(el("section", { class: "card middle" }, el("p", {}, say("offline")), el("div", { class: "deeds" }, el("button", { onclick: refresh }, say("again")))));
    return;
  }
  draw();
}

function draw(said = null) {
  const news = home.querySelector("[name=news]:checked")?.value ?? "";
  home.replaceChildren(purse(), ...watchSign(), said ?? "", goods(), lines(), ...lab(news));
}

function purse() {
  const [sign, digits] = [yuan(me.available)[0], yuan(me.available).slice(1)];
  return el("section", { class: "purse" },
    el("p", { class: "label" }, say("balance")),
    el("p", { class: "balance number", id: "balance" }, el("small", {}, sign), digits),
    el("p", { class: "more" }, me.bonus > 0 ? say("bonus", { amount: yuan(me.bonus) }) : ""),
    el("button", { onclick: () => choose(), id: "topup" }, say("topup")));
}

function watchSign() {
  const topup = kept.get();
  if (!topup) return [];
  return [el("section", { class: "card watch" }, el("p", {}, say("watching", { amount: yuan(topup.amount) })), el("button", { onclick: () => check(topup) }, say("look")))];
}

function goods() {
  const rows = me.goods.map((item) => el("div", { class: "row" },
    el("span", { class: "pic" }, drawing(PICTURES[item.id])),
    el("div", { class: "what" }, el("p", {}, zh ? item.zh : item.en), el("p", { class: "muted number" }, yuan(item.price), item.owned ? ` · ${say("owned", { count: item.owned })}` : "")),
    el("button", { class: "quiet", "data-item": item.id, onclick: (event) => buy(item.id, event.currentTarget) }, say("buy"))));
  return el("section", { class: "card" }, el("h2", {}, say("goods")), ...rows);
}

function lines() {
  const when = new Intl.DateTimeFormat(zh ? "zh-CN" : "en", { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
  const rows = me.lines.map((line) => el("div", { class: "row" },
    el("div", { class: "what" }, el("p", {}, say(`kind_${line.kind}`)), el("p", { class: "muted" }, when.format(new Date(line.at)))),
    el("span", { class: line.amount > 0 ? "number plus" : "number" }, (line.amount > 0 ? "+" : "") + yuan(line.amount))));
  return el("section", { class: "card", id: "lines" }, el("h2", {}, say("lines")), ...(rows.length ? rows : [el("p", { class: "empty" }, say("nothing"))]));
}

function lab(chosen) {
  if (!document.body.dataset.sandbox) return [];
  const choices = ["", "drop", "delay", "duplicate"].map((kind) => el("label", {}, el("input", { type: "radio", name: "news", value: kind, checked: kind === chosen }), say(`lab_${kind}`)));
  return [el("section", { class: "card lab" }, el("h2", { id: "lab" }, say("lab")), el("fieldset", { class: "segments", "aria-labelledby": "lab" }, ...choices))];
}

const buying = {}; // an item's number until something is known of it: pressing again is the same purchase

async function buy(item, button) {
  button.disabled = true;
  buying[item] ??= newNumber("P");
  let said;
  try {
    await call(`/api/goods/${item}`, { no: buying[item] });
    delete buying[item];
    said = ["good", "bought"];
  } catch ({ error }) {
    if (error !== "unknown") delete buying[item];
    said = ["bad", error === "unknown" ? "buy_unknown" : "too_little"];
  }
  await refresh();
  draw(el("p", { class: `say ${said[0]}`, role: "status" }, say(said[1])));
}

// ---- the sheets

function show(...children) {
  sheet.replaceChildren(el("div", { class: "grip" }), ...children);
  sheet.setAttribute("aria-label", sheet.querySelector("h2, .other p").textContent);
  if (!sheet.open) sheet.showModal();
}

function choose() {
  const amounts = me.amounts.map(({ amount, bonus }, number) => el("label", {},
    el("input", { type: "radio", name: "amount", value: amount, checked: number === 1 }),
    el("b", { class: "number" }, yuan(amount).replace(".00", "")), el("span", {}, bonus ? say("gift", { amount: yuan(bonus).replace(".00", "") }) : "")));
  const wallets = WALLETS.map((code, number) => el("label", {},
    el("input", { type: "radio", name: "wallet", value: code, checked: number === 0 }), el("i", { class: code, "aria-hidden": "true" }, MARKS[code]), el("span", {}, say(code))));
  const button = el("button", { id: "pay" });
  const form = el("form", { method: "dialog" },
    el("h2", {}, say("choose")), el("p", { class: "lead" }, say("choose_lead")),
    el("fieldset", { class: "amounts", "aria-label": say("choose") }, ...amounts),
    el("fieldset", { class: "wallets", "aria-label": say("with") }, ...wallets),
    el("div", { class: "deeds" }, button, el("button", { class: "plain", type: "button", onclick: () => sheet.close() }, say("cancel"))));
  const name = () => (button.textContent = say("pay", { amount: yuan(Number(new FormData(form).get("amount"))) }));
  form.addEventListener("change", name);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = new FormData(form);
    begin({ no: newNumber("T"), amount: Number(chosen.get("amount")), method: chosen.get("wallet") });
  });
  show(form);
  name();
}

/** Steps 1 to 4 of a top-up. */
async function begin(topup) {
  kept.put(topup);
  progress(1, "wait", "asking", say("asking_lead"));
  let begun;
  try {
    begun = await call("/api/topups", topup);
  } catch ({ error }) {
    if (error === "unknown") {
      progress(1, "open", "away", say("away_lead"), ["retry", () => begin(topup)], ["later", close]);
    } else {
      // A definite no: of this wallet (another may do), or of the order, which has ended.
      kept.drop();
      progress(1, "bad", error === "refused" ? "refused" : "ended", say(error === "refused" ? "refused_lead" : "ended_lead"), ["other_way", choose], ["not_now", close]);
    }
    return;
  }
  if (begun.status === "credited") return check(topup);
  const news = home.querySelector("[name=news]:checked")?.value ?? "";
  const word = await approveInWallet({ ...topup, params: begun.params, news, show, el });
  if (word === "killed") return location.reload(); // nobody told this app anything: it finds out for itself
  check(topup, word);
}

/** Step 4, until there is an answer.  What the wallet said only decides what to say meanwhile. */
async function check(topup, word = "unknown") {
  const mine = ++watcher;
  const began = Date.now();
  progress(3, "wait", "checking", say("checking_lead"));
  for (;;) {
    const status = await call(`/api/topups/${topup.no}`).catch(() => ({ status: "unknown" }));
    if (mine !== watcher) return;
    if (status.status === "credited") return credited(topup, status);
    if (["expired", "canceled"].includes(status.status)) return ended(topup);
    if (["pending", "none"].includes(status.status) && ["canceled", "failed"].includes(word)) return notPaid(topup, word);
    if (status.status === "none") return begin(topup);
    if (Date.now() - began > PATIENCE_MS && sheet.open) {
      const why = say(word === "paid" ? "slow_paid" : "slow_unknown");
      progress(3, "open", "slow", why, ["ask_again", () => check(topup, word)], ["later", close]);
    }
    await new Promise((done) => setTimeout(done, Date.now() - began > PATIENCE_MS ? 3 * POLL_MS : POLL_MS));
    if (mine !== watcher) return;
  }
}

async function credited(topup, { amount, bonus }) {
  kept.drop();
  await refresh(); // so that the balance below the sheet is the new one
  if (!sheet.open) return;
  const facts = { amount: yuan(amount), bonus: yuan(bonus) };
  progress(5, "good", "done", say(bonus ? "done_bonus" : "done_lead", facts), ["fine", close]);
}

function notPaid(topup, word) {
  kept.drop();
  progress(2, "bad", word, say(`${word}_lead`), ["retry", () => begin(topup)], ["other_way", choose], ["not_now", close]);
  refresh();
}

function ended() {
  kept.drop();
  if (sheet.open) progress(3, "bad", "ended", say("ended_lead"), ["topup", choose], ["not_now", close]);
  refresh();
}

function close() {
  sheet.close();
  draw();
}

const SEALS = { good: "m5 12.5 4.5 4.5L19 7.5", bad: "M7 7l10 10M17 7 7 17", open: "M12 7v5.5l3.5 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18", wait: "" };

/** Where the payment is: steps before `at` are done, and `mood` says how it looks. */
function progress(at, mood, title, lead, ...deeds) {
  const steps = [1, 2, 3, 4].map((step) => {
    const state = step < at ? "done" : step === at ? (mood === "bad" ? "no" : "now") : "";
    return el("li", { class: state, "aria-current": step === at ? "step" : null }, say(`step${step}`));
  });
  const buttons = deeds.map(([name, deed], number) => el("button", { class: number ? "quiet" : "", id: `deed-${name}`, onclick: deed }, say(name)));
  show(el("div", { class: "middle", role: "status", "data-mood": mood, "data-title": title },
    el("div", { class: `seal ${mood}` }, SEALS[mood] ? drawing(SEALS[mood]) : ""), el("h2", {}, say(title)), el("p", { class: "lead" }, lead)),
    el("ol", { class: "steps" }, ...steps), el("div", { class: "deeds" }, ...buttons));
}

sheet.addEventListener("cancel", (event) => event.preventDefault()); // "back" must not hide a payment under way

await refresh();
const unfinished = kept.get();
if (unfinished) check(unfinished);

// The shopper's page: asks how the payment stands, counts down, copies, and sends a form once.
//
// All it needs is in data-* attributes, written by the server.  Nothing here decides anything: when the
// server names another version of the payment, the page loads itself again.  Without this script the
// page works by plain forms and a refresh.  Phones stop timers while a wallet covers the browser, so the
// page asks again the moment it is seen.

const main = document.querySelector("main");
const { poll: address, version, total } = main.dataset;
const clock = document.querySelector("[data-clock]");
const live = document.querySelector("[data-live]");
const born = performance.now();

let left = Number(main.dataset.left);
let leftAt = born;
let failures = 0;
let asking = false;
let timer;

const say = (text) => { live.textContent = text; };

async function ask(afresh) {
  if (!address || asking || document.hidden) return;
  clearTimeout(timer);
  asking = true;
  let wait = performance.now() - born < 60000 ? 2000 : 5000;
  try {
    const answer = await fetch(address, {
      cache: "no-store",
      headers: afresh ? {} : { "If-None-Match": `"${version}"` },
      signal: AbortSignal.timeout?.(15000),
    });
    if (answer.status === 200) {
      const news = await answer.json();
      // By address, not reload(): this page may be the answer to a form, which must not be sent again.
      if (news.version !== version) return location.replace(location.href);
      left = news.expires_in_s;
      leftAt = performance.now();
    } else if (answer.status !== 304) {
      throw new Error(answer.status);
    }
    failures = 0;
  } catch {
    failures += 1;
    wait = Math.min(15000, wait * 2 ** failures);
  } finally {
    asking = false;
  }
  timer = setTimeout(ask, wait);
}

function tick() {
  const rest = Math.max(0, Math.round(left - (performance.now() - leftAt) / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(rest / 60) % 60;
  clock.textContent = (rest < 3600 ? "" : `${Math.floor(rest / 3600)}:`) + `${two(minutes)}:${two(rest % 60)}`;
  clock.parentElement.classList.toggle("deadline--late", rest < total / 4 && rest < 600);
  if (rest === 60) say(clock.dataset.soon);
  if (rest === 0) return ask(true); // money may have moved: the server has the last word
  setTimeout(tick, 1000);
}

function once(event) {
  const form = event.target;
  const button = form.querySelector("[type=submit]");
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "1";
  button.setAttribute("aria-disabled", "true");
  say(button.dataset.busy);
}

async function copy({ currentTarget: button }) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch { // no secure context, or an old browser inside an app
    const field = document.body.appendChild(document.createElement("textarea"));
    field.value = button.dataset.copy;
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  button.classList.add("is-done");
  say(button.dataset.done);
}

const bridges = {
  WeixinJSBridge: (bridge, params) => bridge.invoke("getBrandWCPayRequest", params, () => ask(true)),
  AlipayJSBridge: (bridge, params) => bridge.call("tradePay", params, () => ask(true)),
};

function call({ currentTarget: button }) {
  const { bridge: name, params } = button.dataset;
  const start = () => bridges[name](window[name], JSON.parse(params));
  if (window[name]) start();
  else document.addEventListener(`${name}Ready`, start, { once: true });
}

for (const form of document.forms) form.addEventListener("submit", once);
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", copy);
}
for (const button of document.querySelectorAll("[data-bridge]")) button.addEventListener("click", call);
if (clock && left < 86400) {
  clock.hidden = false;
  tick();
}
document.addEventListener("visibilitychange", () => ask(true));
addEventListener("pageshow", ({ persisted }) => {
  for (const form of document.forms) {
    delete form.dataset.sent;
    form.querySelector("[type=submit]").removeAttribute("aria-disabled");
  }
  ask(persisted);
});
if (main.dataset.go) {
  history.replaceState(null, "", main.dataset.go); // so that "back" does not set off again
  document.querySelector("[data-onward]")?.click();
}

// The till: keypad, scanner, and a screen that changes by itself.  Forms are sent from within the page, because a
// page that was never touched may not speak.  Everything works without this file, but for the voice.

const SCANNER_MS = 80; // between two keys: a scanner takes a few, a person more
const CODE_DIGITS_MIN = 16;
const POLL_MS = 1500;
const POLL_MAX_MS = 15000;

document.documentElement.classList.add("js");

const voice = document.querySelector("[data-voice]");
const announcer = document.getElementById("announcer");
let main = document.getElementById("main");
let wait = POLL_MS;
let timer = 0;
let said = "";
let lock = null;
let leftUntil = 0;

// Voice

function isOn() {
  return localStorage.getItem("mafu_voice") !== "off";
}

function say(text) {
  announcer.textContent = text;
  if (!isOn() || !("speechSynthesis" in window)) return;
  const words = new SpeechSynthesisUtterance(text);
  words.lang = document.documentElement.lang;
  speechSynthesis.cancel();
  speechSynthesis.speak(words);
}

voice.setAttribute("aria-pressed", String(isOn()));
voice.addEventListener("click", () => {
  localStorage.setItem("mafu_voice", isOn() ? "off" : "on");
  voice.setAttribute("aria-pressed", String(isOn()));
  if (isOn()) say(voice.textContent.trim());
  else window.speechSynthesis?.cancel();
});

// The screen

function show(page, address) {
  const fresh = page.getElementById("main");
  if (!fresh) throw new Error("not a page of the till");
  main.replaceWith(document.importNode(fresh, true));
  main = document.getElementById("main");
  document.title = page.title;
  if (address && address !== location.href) history.pushState(null, "", address);
  enter();
}

async function load(address, options) {
  const answer = await fetch(address, { headers: { Accept: "text/html" }, ...options });
  const text = await answer.text();
  if (!(answer.headers.get("Content-Type") ?? "").includes("text/html")) throw new Error("no page");
  show(new DOMParser().parseFromString(text, "text/html"), answer.url);
}

function enter() {
  const left = main.querySelector("[data-left]");
  leftUntil = left ? performance.now() + Number(left.dataset.left) * 1000 : 0;
  (main.querySelector("[autofocus], [data-focus]") ?? main).focus({ preventScroll: true });
  if (matchMedia("(pointer: coarse)").matches && main.querySelector("[data-key]")) {
    main.querySelector("[data-amount]").inputMode = "none"; // the keypad is there already
  }
  const words = main.dataset.say ?? "";
  if (words && words + location.pathname !== said) say(words);
  said = words && words + location.pathname;
  wait = POLL_MS;
  schedule();
  keepAwake();
}

function schedule() {
  clearTimeout(timer);
  if (main.dataset.state) timer = setTimeout(look, wait);
}

async function look() {
  const asked = main;
  try {
    const answer = await fetch(asked.dataset.state, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error("no answer");
    const news = await answer.json();
    if (asked !== main) return;
    if (news.version !== main.dataset.version) return await load(location.href);
    if (main.querySelector("[data-left]")) leftUntil = performance.now() + news.left_s * 1000;
    wait = POLL_MS;
  } catch {
    wait = Math.min(wait * 2, POLL_MAX_MS);
  }
  schedule();
}

setInterval(() => {
  const seconds = main.querySelector("[data-seconds]");
  if (seconds) seconds.textContent = Math.max(0, Math.round((leftUntil - performance.now()) / 1000));
}, 500);

// A tablet that slept, or a page that came back out of the browser's memory, looks at once.
function wake() {
  if (document.hidden) return;
  wait = POLL_MS;
  if (main.dataset.state) look();
  keepAwake();
}

document.addEventListener("visibilitychange", wake);
addEventListener("pageshow", (event) => event.persisted && wake());
addEventListener("online", wake);
addEventListener("popstate", () => location.reload());

async function keepAwake() {
  try {
    if (!lock || lock.released) lock = await navigator.wakeLock?.request("screen");
  } catch {
    lock = null; // the battery is low, or the browser has no such thing
  }
}

// Forms

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!main.contains(form)) return;
  event.preventDefault();
  if (form.dataset.sent) return;
  form.dataset.sent = "yes";
  for (const button of form.querySelectorAll("button")) button.setAttribute("aria-disabled", "true");
  try {
    await load(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  } catch {
    form.submit(); // whatever it was, the browser shows it
  }
});

document.addEventListener("click", (event) => {
  const key = event.target.closest("[data-key]")?.dataset.key;
  const field = main.querySelector("[data-amount]");
  if (!key || !field) return;
  if (key === "back") field.value = field.value.slice(0, -1);
  else if (key !== "." || !field.value.includes(".")) field.value += key;
});

// A scanner types like a very fast person who ends with Enter, into whatever has the focus.
let digits = "";
let last = 0;

document.addEventListener("keydown", (event) => {
  const code = main.querySelector("[data-code]");
  if (!code || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const gap = event.timeStamp - last;
  if (/^[0-9]$/.test(event.key)) {
    digits = gap > SCANNER_MS ? event.key : digits + event.key;
    last = event.timeStamp;
  } else if (event.key === "Enter") {
    const field = document.activeElement;
    if (digits.length >= CODE_DIGITS_MIN && gap <= SCANNER_MS * 3) {
      event.preventDefault();
      if (field !== code && field.value?.endsWith(digits)) field.value = field.value.slice(0, -digits.length);
      code.value = digits;
      code.form.requestSubmit();
    } else if (field?.matches("[data-amount]") && !code.value) {
      event.preventDefault();
      code.focus();
    }
    digits = "";
  } else if (event.key.length === 1) {
    digits = "";
  }
});

document.addEventListener("input", (event) => {
  const code = event.target;
  if (!code.matches?.("[data-code]")) return;
  const plain = code.value.replace(/\s/g, "");
  const wallet = JSON.parse(code.dataset.wallets).find((each) => new RegExp(`^(?:${each.pattern})$`).test(plain));
  const place = main.querySelector("[data-wallet]");
  place.textContent = !wallet ? "" : wallet.works ? wallet.name : `${wallet.name}: ${code.dataset.unknown}`;
});

enter();

// Copy buttons, the print button, "/" for search, and regions that keep themselves fresh.
// Every page works without this file.

document.documentElement.classList.add("js");

const announcer = document.getElementById("announcer");
const copied = document.body.dataset.copied ?? "";

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Over plain http, as on a shop's own network, browsers offer only the old way.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await copy(button.dataset.copy);
  const before = button.textContent;
  button.textContent = copied;
  button.focus();
  if (announcer) announcer.textContent = copied;
  setTimeout(() => {
    button.textContent = before;
    if (announcer) announcer.textContent = "";
  }, 1600);
});

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

document.addEventListener("keydown", (event) => {
  const search = document.querySelector("[data-search]");
  if (event.key !== "/" || !search || event.target.closest("input, select, textarea")) return;
  event.preventDefault();
  search.focus();
});

// What was done is said once: a reload does not say it again.
if (document.querySelector("[data-notice]")) {
  const address = new URL(location.href);
  address.searchParams.delete("notice");
  history.replaceState(null, "", address);
}

// A page that changes by itself says so with data-live (seconds).  It is read again, and its regions
// take over what differs; one that holds the focus is left alone until the last time.
const main = document.getElementById("main");
let every = Number(main?.dataset.live ?? 0);
let wait = every;

async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected || !answer.ok) throw new Error("no such page now");
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  every = Number(page.getElementById("main")?.dataset.live ?? 0);
  for (const region of document.querySelectorAll("[data-region]")) {
    const fresh = page.getElementById(region.id);
    const focused = region.contains(document.activeElement);
    if ((focused && every) || (fresh && region.isEqualNode(fresh))) continue;
    if (fresh) region.replaceChildren(...fresh.childNodes);
    else region.remove();
    if (focused) main.focus();
  }
  if (!every) document.querySelectorAll("[data-while-live]").forEach((element) => element.remove());
}

async function keepFresh() {
  if (!document.hidden) {
    try {
      await refresh();
      wait = every;
    } catch {
      wait = Math.min(wait * 2, 60);
    }
  }
  if (every) setTimeout(keepFresh, wait * 1000);
}

if (every) setTimeout(keepFresh, every * 1000);

// On a phone, Escape closes the menu as a tap beside it does.
document.addEventListener("keydown", (event) => {
  const menu = document.querySelector(".menu[open]");
  if (event.key !== "Escape" || !menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

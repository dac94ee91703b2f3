// A sign's page: a keypad for fingers, and what is typed or pasted made plain.  Without this script the
// field takes the amount as it is typed, and the server reads it just as well.

const form = document.querySelector("form.till");
const field = form.querySelector("#amount");
const keys = form.querySelector("[data-keys]");
const said = form.querySelector("[data-said]");
const live = document.querySelector("[data-live]");
const decimals = Number(form.dataset.decimals);

// "￥１，２３４。５" -> "1234.5".  A comma only parts thousands: "12,50" stays as it is, to be asked about.
function plain(text) {
  const folded = text.normalize("NFKC").replaceAll("。", ".").replace(/[元\s]|[A-Z]*[¥$€£₩]/g, "");
  return /^\d{1,3}(,\d{3})+(\.\d*)?$/.test(folded) ? folded.replaceAll(",", "") : folded;
}

function press(key) {
  const before = field.value;
  if (key === "back") field.value = before.slice(0, -1);
  else if (key === ".") field.value = before.includes(".") ? before : `${before || "0"}.`;
  else if ((before.split(".")[1] ?? "").length < decimals || !before.includes(".")) {
    field.value = (before + key).replace(/^0+(?=\d)/, "").slice(0, 12);
  }
  said.textContent = field.value; // for who hears the page: the field itself has not the focus
}

if (field) {
  field.addEventListener("input", ({ isComposing }) => {
    const clean = plain(field.value);
    if (!isComposing && clean !== field.value) field.value = clean;
  });
  field.addEventListener("compositionend", () => { field.value = plain(field.value); });
}
if (keys && matchMedia("(pointer: coarse)").matches) {
  keys.hidden = false;
  field.inputMode = "none"; // ours instead of the phone's; a hardware keyboard types on
  keys.addEventListener("click", ({ target }) => { if (target.value) press(target.value); });
}

form.addEventListener("submit", (event) => {
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "1";
  event.submitter?.setAttribute("aria-disabled", "true");
  live.textContent = event.submitter?.dataset.busy ?? "";
});
// Back from the checkout: a page that was sent makes no second charge, so a fresh one is fetched.
addEventListener("pageshow", ({ persisted }) => { if (persisted) location.reload(); });

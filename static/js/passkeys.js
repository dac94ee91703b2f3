// Passkeys: a button asks the device, and the form beside it carries the answer to the server.
// Where there is no script, or a browser that knows no passkeys, the button is not shown.

const isKnown = typeof window.PublicKeyCredential?.parseCreationOptionsFromJSON === "function";

async function ask(button) {
  const options = JSON.parse(button.dataset.passkey);
  if (button.dataset.deed === "create") {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
    return navigator.credentials.create({ publicKey });
  }
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return navigator.credentials.get({ publicKey });
}

for (const button of isKnown ? document.querySelectorAll("[data-passkey]") : []) {
  const form = button.form;
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (button.dataset.deed === "create" && !form.reportValidity()) return;
    const field = form.elements[button.dataset.field];
    try {
      field.value = JSON.stringify((await ask(button)).toJSON());
    } catch {
      return; // the person has thought better of it, or the device has said what is wrong
    }
    // What the form asks for besides is not wanted when a passkey answers.
    if (button.dataset.deed !== "create") form.noValidate = true;
    form.requestSubmit();
  });
}

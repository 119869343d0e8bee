// Keys for the page's own buttons and fields. The page works without it; nothing here reads an answer.
"use strict";

(() => {
  // A key or a click that was meant for the battle before must not judge this one.
  const SETTLE_MILLISECONDS = 300;
  let toggle = null;
  let settled = false;
  let sent = false;

  function keysAreOn() {
    return !toggle || toggle.getAttribute("aria-pressed") === "true";
  }

  function setKeys(on) {
    toggle.setAttribute("aria-pressed", String(on));
    toggle.textContent = on ? "Keys on" : "Keys off";
    document.documentElement.classList.toggle("keys", on);
    localStorage.setItem("keys", on ? "on" : "off");
  }

  // A status is announced when it changes, so it is set again after the page has loaded.
  function announce() {
    const status = document.getElementById("status");
    if (!status || !status.textContent) return;
    const text = status.textContent;
    status.textContent = "";
    setTimeout(() => { status.textContent = text; }, 100);
  }

  function focusHeading() {
    document.querySelector("h1").focus({ preventScroll: true });
  }

  function onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.target.matches("textarea, input")) {
      if (event.key === "Escape") focusHeading();
      return;
    }
    if (!settled || !keysAreOn() || event.repeat) return;
    const found = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
    if (!found) return;
    event.preventDefault();
    if (found.matches("textarea")) found.focus();
    else found.click();
  }

  function onSubmit(event) {
    if (sent || !settled) event.preventDefault();
    else sent = true;
  }

  function setUp() {
    toggle = document.getElementById("keys");
    if (toggle) {
      toggle.hidden = false;
      setKeys(localStorage.getItem("keys") !== "off");
      toggle.addEventListener("click", () => setKeys(!keysAreOn()));
    } else {
      document.documentElement.classList.add("keys");
    }
    setTimeout(() => {
      settled = true;
      document.documentElement.dataset.settled = "yes";
    }, SETTLE_MILLISECONDS);
    if (!location.hash) focusHeading();
    announce();
  }

  // At once, so that no click comes before them.
  document.addEventListener("submit", onSubmit);
  document.addEventListener("keydown", onKey);
  document.addEventListener("DOMContentLoaded", setUp);
  // A page that comes back from the browser's memory was sent before.
  window.addEventListener("pageshow", () => { sent = false; });
})();

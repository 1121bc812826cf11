// The dialog that asks for a token.

import { onTokenNeeded } from "../service/http.js";
import { byId } from "./dom.js";

/** Ask for a token whenever the service wants one. */
export function startToken() {
  byId("token").addEventListener("cancel", (event) => event.preventDefault());
  onTokenNeeded((wasWrong) => {
    byId("token-said").textContent = wasWrong ? "The service does not know this token." : "";
    byId("token", HTMLDialogElement).showModal();
    return new Promise((resolve) => {
      byId("token-form", HTMLFormElement).onsubmit = () => {
        const input = byId("token-value", HTMLInputElement);
        resolve(input.value.trim());
        input.value = "";
      };
    });
  });
}

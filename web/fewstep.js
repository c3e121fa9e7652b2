// Opens a graph of the pack when the page's address asks for it: ?fewstep=01_text_to_image_4_steps
// Lists model files anew when one of our nodes has written some, as the key R does.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

async function openAsked() {
  const name = new URLSearchParams(window.location.search).get("fewstep");
  if (!name) return;
  const answer = await api.fetchApi(`/fewstep/workflows/${encodeURIComponent(name)}`);
  if (answer.ok) await app.loadGraphData(await answer.json(), true, true, name);
}

app.registerExtension({
  name: "FewStep.open",
  setup() {
    // Pages put the graph of before back after this; ours comes last.
    setTimeout(openAsked, 1500);
  },
});

app.registerExtension({
  name: "FewStep.files",
  setup() {
    let soon; // many files at once are one refresh
    api.addEventListener("fewstep.files", () => {
      clearTimeout(soon);
      soon = setTimeout(() => app.refreshComboInNodes(), 300);
    });
  },
});

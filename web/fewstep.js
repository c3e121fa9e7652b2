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

// Today's page writes an input's `advanced` into the widget's options, where its new nodes look for it; its classic
// nodes look at the widget itself, and fold what they find there behind Show Advanced of the node's menu.
app.registerExtension({
  name: "FewStep.advanced",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("FewStep") || !node.hasAdvancedWidgets) return;
    for (const widget of node.widgets ?? []) {
      if (widget.options?.advanced) widget.advanced = true;
    }
  },
});

// The host lists a pack's templates as its disk does, and the page keeps that order: ours are numbered.
app.registerExtension({
  name: "FewStep.templates",
  init() {
    const listed = api.getWorkflowTemplates;
    api.getWorkflowTemplates = async function () {
      const packs = await listed.call(this);
      Object.values(packs).find((names) => names.includes("01_text_to_image_4_steps"))?.sort();
      return packs;
    };
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

// Colours of the pack's own sockets and of their links, in both renderers.

import { app } from "../../../scripts/app.js";

const COLORS = {
  OMNISYNC_TRACK: "#ff7a59",
  OMNISYNC_REGION: "#e0b04c",
  OMNISYNC_ENGINE: "#8fb4ff",
  OMNISYNC_SPEAKERS: "#c792ea",
};

// A palette that is loaded, also at the start, takes the colours of types that it does not know.
function paint() {
  for (const [type, color] of Object.entries(COLORS)) {
    document.documentElement.style.setProperty(`--color-datatype-${type}`, color);
    for (const colors of [app.canvas?.default_connection_color_byType, app.canvas?.constructor.link_type_colors]) {
      if (colors) colors[type] = color;
    }
  }
  app.canvas?.setDirty?.(true, true);
}

app.registerExtension({
  name: "OmniSync.Sockets",
  setup() {
    paint();
    app.ui?.settings?.addEventListener?.("Comfy.ColorPalette.change", () => setTimeout(paint, 500));
  },
  afterConfigureGraph: paint,
});

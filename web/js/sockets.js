// Colours of the pack's own sockets and of their links, in both renderers.

import { app } from "../../../scripts/app.js";

const COLORS = {
  OMNISYNC_TRACK: "#ff7a59",
  OMNISYNC_REGION: "#e0b04c",
  OMNISYNC_ENGINE: "#8fb4ff",
  OMNISYNC_SPEAKERS: "#c792ea",
};

app.registerExtension({
  name: "OmniSync.Sockets",
  setup() {
    for (const [type, color] of Object.entries(COLORS)) {
      document.documentElement.style.setProperty(`--color-datatype-${type}`, color);
      Object.assign((window.LGraphCanvas.link_type_colors ??= {}), { [type]: color });
      const own = app.canvas?.default_connection_color_byType;
      if (own) own[type] = color;
    }
  },
});

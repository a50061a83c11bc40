// Mouth Track's point: click the mouth on the first frame.
//
// The frame is that of the file which a loader upstream names, or, once the node has run, the one that it saw.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const NODE = "OmniSyncMouthTrack";
const WATCH_MS = 600;
const HEIGHT = 220;
const LONGEST = 640;
const LOADERS = {
  // node class: where its file's name is, whether the file is a video, widgets that move its first frame
  LoadImage: { widget: "image" },
  LoadVideo: { widget: "file", video: true },
  VHS_LoadVideo: { widget: "video", video: true, moves: ["skip_first_frames"] },
  VHS_LoadVideoFFmpeg: { widget: "video", video: true, moves: ["start_time"] },
  OmniSyncExample: { widget: "name", pictures: new URL("../examples/", import.meta.url).href },
};
const PASS_ON = ["GetVideoComponents", "Reroute", "ImageScale", "ImageScaleBy", "ImageScaleToTotalPixels"];
const WORDS = {
  en: {
    click: "click the mouth",
    none: "no first frame yet: choose a file upstream, or run the workflow once",
    unread: "the browser cannot show this file: run the workflow once",
  },
  zh: {
    click: "点击嘴部",
    none: "还没有首帧：请在上游选择文件，或先运行一次工作流",
    unread: "浏览器无法显示此文件：请先运行一次工作流",
  },
  ja: {
    click: "口をクリック",
    none: "最初のフレームがまだありません：上流でファイルを選ぶか、ワークフローを一度実行してください",
    unread: "ブラウザーがこのファイルを表示できません：ワークフローを一度実行してください",
  },
};

app.registerExtension({
  name: "OmniSync.Point",
  nodeCreated(node) {
    if (node.comfyClass === NODE) new PointWidget(node);
  },
});

class PointWidget {
  constructor(node) {
    this.node = node;
    this.frame = null; // what is drawn: an image or a canvas
    this.shown = ""; // which source it is of
    this.seen = null; // the node's own first frame, with the source it was made from
    this.mouth = null; // x, y, width that the last run found on it
    this.words = WORDS[(app.ui?.settings?.getSettingValue?.("Comfy.Locale") ?? "en").slice(0, 2)] ?? WORDS.en;
    this.hint = this.words.none;
    this.canvas = this.build();
    this.hook();
    this.draw();
  }

  build() {
    const canvas = document.createElement("canvas");
    canvas.dataset.testid = "omnisync-point";
    Object.assign(canvas.style, { width: "100%", height: "100%", minHeight: "120px", cursor: "crosshair", display: "block" });
    canvas.style.touchAction = "none";
    const widget = this.node.addDOMWidget("point", "OMNISYNC_POINT", canvas, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => HEIGHT,
      getValue: () => undefined,
      setValue: () => {},
    });
    widget.serialize = false;
    const [width, height] = this.node.size;
    this.node.setSize([Math.max(width, 300), Math.max(height, this.node.computeSize()[1])]);
    return canvas;
  }

  hook() {
    let held = false;
    const follow = (event) => {
      if (event.type === "pointerdown" && event.button === 0) held = true;
      if (!held) return;
      event.preventDefault();
      event.stopPropagation(); // else the node is dragged
      if (event.type === "pointerdown") this.canvas.setPointerCapture?.(event.pointerId);
      this.point(event);
      if (event.type === "pointerup") {
        held = false;
        app.extensionManager?.workflow?.activeWorkflow?.changeTracker?.checkState?.(); // so that it can be undone
      }
    };
    for (const kind of ["pointerdown", "pointermove", "pointerup"]) this.canvas.addEventListener(kind, follow);
    this.canvas.addEventListener("pointercancel", () => (held = false));
    this.chain("onExecuted", (output) => this.ran(output));
    this.chain("onRemoved", () => {
      clearInterval(this.watch);
      this.resized.disconnect();
    });
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.canvas);
    this.watch = setInterval(() => this.look(), WATCH_MS);
    this.look();
  }

  chain(name, after) {
    const before = this.node[name];
    this.node[name] = function (...given) {
      const result = before?.apply(this, given);
      after(...given);
      return result;
    };
  }

  // ---- the frame

  look() {
    const source = findSource(this.node);
    const key = JSON.stringify(source);
    const point = JSON.stringify(this.values());
    if (key !== this.shown) {
      this.shown = key;
      if (this.seen?.key === key) this.show(this.seen.frame, "");
      else {
        this.mouth = null;
        this.load(source, key);
      }
    } else if (point !== this.drawn) this.draw();
  }

  async load(source, key) {
    if (!source?.url || source.moved) return this.show(null, this.words.none);
    this.show(null, "");
    try {
      const frame = source.video ? await firstFrame(source.url) : await picture(source.url);
      if (this.shown === key) this.show(frame, "");
    } catch {
      if (this.shown === key) this.show(null, this.words.unread);
    }
  }

  async ran(output) {
    const [file] = output?.omnisync_frame ?? [];
    if (!file) return;
    const key = JSON.stringify(findSource(this.node));
    const frame = await picture(viewURL(file.filename, file.subfolder, file.type));
    this.seen = { key, frame };
    this.shown = key;
    this.mouth = output.omnisync_mouth ?? null;
    this.show(frame, "");
  }

  show(frame, hint) {
    this.frame = frame;
    this.hint = hint;
    this.draw();
  }

  // ---- the point

  values() {
    const value = (name) => this.node.widgets?.find((widget) => widget.name === name)?.value;
    return [value("point_x"), value("point_y"), value("speaker")];
  }

  point(event) {
    if (!this.frame) return;
    const [x, y] = [event.offsetX / this.canvas.clientWidth, event.offsetY / this.canvas.clientHeight];
    const [left, top, wide, high] = this.place(this.canvas.clientWidth, this.canvas.clientHeight);
    const share = (at, start, length) => Math.round(1000 * Math.min(1, Math.max(0, (at - start) / length))) / 1000;
    this.set("point_x", share(x * this.canvas.clientWidth, left, wide));
    this.set("point_y", share(y * this.canvas.clientHeight, top, high));
    this.set("speaker", "point");
    this.draw();
    this.node.graph?.setDirtyCanvas?.(true, true);
  }

  set(name, value) {
    const widget = this.node.widgets?.find((one) => one.name === name);
    if (!widget || widget.value === value) return;
    widget.value = value;
    widget.callback?.(value);
  }

  // ---- the picture of both

  place(width, height) {
    const scale = Math.min(width / this.frame.width, height / this.frame.height);
    const [wide, high] = [this.frame.width * scale, this.frame.height * scale];
    return [(width - wide) / 2, (height - high) / 2, wide, high];
  }

  draw() {
    const { canvas } = this;
    const ratio = Math.min(3, (window.devicePixelRatio || 1) * (app.canvas?.ds?.scale > 1 ? 2 : 1));
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    this.drawn = JSON.stringify(this.values());
    if (!width || !height) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.fillStyle = "#17181c";
    pen.beginPath();
    pen.roundRect(0, 0, width, height, 8);
    pen.fill();
    if (!this.frame) return write(pen, this.hint, width, height / 2, width - 24);
    const [left, top, wide, high] = this.place(width, height);
    pen.drawImage(this.frame, left, top, wide, high);
    const [x, y, speaker] = this.values();
    if (this.mouth?.[3] > 0) {
      const [mouthX, mouthY, size] = this.mouth;
      ring(pen, left + mouthX * wide, top + mouthY * high, (size * wide) / 2, (size * wide) / 4, "#2f9aa6", [4, 3]);
    }
    const chosen = speaker === "point";
    pen.globalAlpha = chosen ? 1 : 0.45;
    cross(pen, left + x * wide, top + y * high);
    pen.globalAlpha = 1;
    if (!chosen) write(pen, this.words.click, width, height - 14, width - 24);
  }
}

// What the node's first frame will be: { url, video, moved }, {} where that cannot be told, null without a source.
function findSource(node) {
  for (let steps = 0, name = "source"; steps < 12; steps++) {
    const slot = node.inputs?.findIndex((input) => (name ? input.name === name : input.link != null)) ?? -1;
    const before = slot < 0 ? null : node.getInputNode?.(slot);
    if (!before) return steps ? {} : null;
    if (before.mode === 4) return {}; // bypassed: what comes then is somebody else's
    const kind = before.comfyClass ?? before.type;
    if (LOADERS[kind]) return loaded(before, LOADERS[kind]);
    if (!PASS_ON.includes(kind)) return {};
    [node, name] = [before, null];
  }
  return {};
}

function loaded(node, loader) {
  const value = (name) => node.widgets?.find((widget) => widget.name === name)?.value;
  const file = value(loader.widget);
  if (typeof file !== "string" || !file) return {};
  if (loader.pictures) return { url: `${loader.pictures}${file.split(",")[0].replaceAll(" ", "_")}.jpg` };
  const [, path, kind] = file.match(/^(.*?)(?:\s*\[(input|output|temp)\])?$/s);
  const cut = path.lastIndexOf("/");
  const moved = (loader.moves ?? []).some((name) => Number(value(name)) > 0);
  return { url: viewURL(path.slice(cut + 1), path.slice(0, Math.max(0, cut)), kind ?? "input"), video: !!loader.video, moved };
}

function viewURL(filename, subfolder, type) {
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder: subfolder ?? "", type })}`);
}

function picture(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = url;
  });
}

function firstFrame(url) {
  return new Promise((resolve, reject) => {
    const video = document.createElement("video");
    const end = (settle, value) => {
      clearTimeout(late);
      video.removeAttribute("src");
      video.load();
      settle(value);
    };
    const late = setTimeout(() => end(reject), 20000);
    video.muted = true;
    video.preload = "auto";
    video.onerror = () => end(reject);
    video.onloadeddata = () => {
      const canvas = document.createElement("canvas");
      const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight, 1));
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight].map((side) => Math.round(side * scale));
      if (!canvas.width || !canvas.height) return end(reject);
      canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
      end(resolve, canvas);
    };
    video.src = url;
  });
}

function ring(pen, x, y, across, along, color, dash = []) {
  for (const [style, width] of [["rgba(0,0,0,.6)", 3.5], [color, 2]]) {
    pen.beginPath();
    pen.setLineDash(dash);
    pen.ellipse(x, y, Math.max(2, across), Math.max(2, along), 0, 0, 2 * Math.PI);
    [pen.strokeStyle, pen.lineWidth] = [style, width];
    pen.stroke();
  }
  pen.setLineDash([]);
}

function cross(pen, x, y) {
  ring(pen, x, y, 7, 7, "#ff603c");
  for (const [style, width] of [["rgba(0,0,0,.6)", 3.5], ["#ff603c", 2]]) {
    pen.beginPath();
    for (const [across, down] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      pen.moveTo(x + 10 * across, y + 10 * down);
      pen.lineTo(x + 16 * across, y + 16 * down);
    }
    [pen.strokeStyle, pen.lineWidth] = [style, width];
    pen.stroke();
  }
}

function write(pen, text, width, y, most) {
  pen.font = "12px system-ui, sans-serif";
  pen.textAlign = "center";
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && pen.measureText(longer).width <= most) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  lines.forEach((line, index) => {
    const at = y + 4 + 16 * (index - (lines.length - 1) / 2);
    pen.strokeStyle = "rgba(0,0,0,.7)";
    pen.lineWidth = 3;
    pen.strokeText(line, width / 2, at);
    pen.fillStyle = "#e9e7e2";
    pen.fillText(line, width / 2, at);
  });
}

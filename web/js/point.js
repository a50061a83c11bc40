// Mouth Track's point: click the mouth on the first frame.
//
// The frame is that of the file which a loader upstream names, or, once the node has run, the one that it saw.

import { app } from "../../../scripts/app.js";
import { addressOf, findSource, picture, viewURL } from "./first_frame.js";

const NODE = "OmniSyncMouthTrack";
const NAME = "omnisync-point";
const WATCH_MS = 400;
const [LOWEST, USUAL, HIGHEST] = [150, 220, 460];
const NARROWEST = 300;
const MARGIN = 10; // that the canvas renderer leaves around it: what comes below would else lie under the picture
const LOUPE = { radius: 58, zoom: 3, edge: 8 };
const UNPOINTED = { speaker: "largest", point_x: 0.5, point_y: 0.62, point_width: 0 };
const [MARK, FOUND, DARK] = ["#ff603c", "#3fc1cf", "rgba(0,0,0,.65)"];
const WORDS = {
  en: {
    click: "click the mouth",
    none: "no first frame yet: choose a file upstream, or run the workflow once",
    unread: "no picture of this file: choose one that is there, a video of which the trim leaves some",
  },
  zh: {
    click: "点击嘴部",
    none: "还没有首帧：请在上游选择文件，或先运行一次工作流",
    unread: "没有此文件的画面：请选择存在的视频，且裁剪后仍有画面",
  },
  ja: {
    click: "口をクリック",
    none: "最初のフレームがまだありません：上流でファイルを選ぶか、ワークフローを一度実行してください",
    unread: "このファイルの絵がありません：実在する動画で、トリム後に何か残るものを選んでください",
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
    this.frame = null; // what is drawn: an image
    this.shown = undefined; // which source it is of
    this.mouth = null; // x, y, width that the last run found on it
    this.hand = null; // where the pointer is, in pixels of the canvas
    this.high = USUAL;
    this.words = WORDS[(app.ui?.settings?.getSettingValue?.("Comfy.Locale") ?? "en").slice(0, 2)] ?? WORDS.en;
    this.hint = this.words.none;
    this.canvas = this.build();
    this.hook();
    this.draw();
  }

  build() {
    const canvas = document.createElement("canvas");
    canvas.dataset.testid = NAME;
    Object.assign(canvas.style, { width: "100%", height: "100%", cursor: "crosshair", display: "block" });
    Object.assign(canvas.style, { minHeight: `${USUAL}px`, touchAction: "none" });
    const widget = this.node.addDOMWidget("point", "OMNISYNC_POINT", canvas, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => this.high + 2 * MARGIN,
      getMaxHeight: () => this.high + 2 * MARGIN,
      getValue: () => undefined,
      setValue: () => {},
    });
    widget.serialize = false;
    this.fit();
    return canvas;
  }

  hook() {
    const follow = (event) => this.follow(event);
    for (const kind of ["down", "move", "up", "leave", "cancel"]) this.canvas.addEventListener(`pointer${kind}`, follow);
    this.chain("onExecuted", (output) => this.ran(output));
    this.chain("onAdded", () => this.wake()); // also after it moved into a subgraph
    this.chain("onRemoved", () => this.sleep());
    this.wake();
  }

  wake() {
    this.sleep();
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.canvas);
    this.watch = setInterval(() => this.look(), WATCH_MS);
  }

  sleep() {
    clearInterval(this.watch);
    this.resized?.disconnect();
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
    if (!this.node.graph) return; // taken out, or not yet in
    this.mount();
    const source = findSource(this.node);
    const key = JSON.stringify(source);
    if (key !== this.shown) {
      // Only what is seen to change: a graph that was loaded, or undone, keeps its point.
      if (source && this.pointed && this.pointed !== key) this.clear();
      this.pointed = source ? key : this.pointed;
      this.shown = key;
      this.mouth = null;
      this.load(source, key);
    } else if (this.state() !== this.drawn) this.draw();
  }

  // The node renderer keeps the canvas of the node that an undo replaced: put ours in its place.
  mount() {
    if (this.canvas.isConnected || this.node.graph !== app.canvas?.graph) return;
    const node = `[data-node-id="${CSS.escape(String(this.node.id))}"]`;
    document.querySelector(`${node} canvas[data-testid="${NAME}"]`)?.replaceWith(this.canvas);
  }

  async load(source, key) {
    const address = source && addressOf(source);
    this.show(null, address ? "" : this.words.none);
    if (!address) return;
    const frame = await picture(address).catch(() => null);
    if (this.shown === key) this.show(frame, frame ? "" : this.words.unread);
  }

  async ran(output) {
    const [file] = output?.omnisync_frame ?? [];
    if (!file) return;
    const key = this.shown;
    const frame = this.frame ?? (await picture(viewURL(file.filename, file.subfolder, file.type)).catch(() => null));
    if (!frame || this.shown !== key) return;
    this.mouth = output.omnisync_mouth ?? null;
    this.show(frame, "");
  }

  show(frame, hint) {
    [this.frame, this.hint] = [frame, hint];
    const inner = Math.max(NARROWEST, this.node.size[0]) - 20;
    if (frame) this.high = Math.round(Math.min(HIGHEST, Math.max(LOWEST, (inner * frame.height) / frame.width)));
    this.fit();
    this.draw();
  }

  // Room for the picture, and none beside it: a film that stands upright gets more.
  fit() {
    const tall = `${this.high}px`;
    if (this.canvas) Object.assign(this.canvas.style, { minHeight: tall, maxHeight: tall });
    const [width, height] = this.node.size;
    const needed = [Math.max(width, NARROWEST), Math.max(height, this.node.computeSize()[1])];
    if (needed[0] !== width || needed[1] !== height) this.node.setSize(needed);
  }

  // ---- the point

  values() {
    const value = (name) => this.node.widgets?.find((widget) => widget.name === name)?.value;
    return [value("point_x"), value("point_y"), value("speaker"), value("point_width")];
  }

  follow(event) {
    const kind = event.type.slice("pointer".length);
    if (kind === "down" && event.button === 0) {
      this.held = true;
      this.canvas.setPointerCapture?.(event.pointerId);
    }
    this.hand = kind === "leave" || kind === "cancel" ? null : [event.offsetX, event.offsetY];
    if (this.held) {
      event.preventDefault();
      event.stopPropagation(); // else the node is dragged
      if (this.hand) this.point(...this.hand);
    }
    if (this.held && (kind === "up" || kind === "cancel")) {
      this.held = false;
      app.extensionManager?.workflow?.activeWorkflow?.changeTracker?.checkState?.(); // so that it can be undone
    }
    this.draw();
  }

  point(x, y) {
    if (!this.frame) return;
    const [left, top, wide, high] = this.place();
    const share = (at, start, length) => Math.round(1000 * Math.min(1, Math.max(0, (at - start) / length))) / 1000;
    this.set({ point_x: share(x, left, wide), point_y: share(y, top, high), speaker: "point" });
  }

  clear() {
    if (this.values()[2] === "point") this.set(UNPOINTED);
  }

  set(values) {
    for (const [name, value] of Object.entries(values)) {
      const widget = this.node.widgets?.find((one) => one.name === name);
      if (!widget || widget.value === value) continue;
      widget.value = value;
      widget.callback?.(value);
    }
    this.node.graph?.setDirtyCanvas?.(true, true);
  }

  // ---- the picture of both

  place() {
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const scale = Math.min(width / this.frame.width, height / this.frame.height);
    const [wide, high] = [this.frame.width * scale, this.frame.height * scale];
    return [(width - wide) / 2, (height - high) / 2, wide, high];
  }

  state() {
    return JSON.stringify(this.values());
  }

  draw() {
    const { canvas } = this;
    const [width, height] = [canvas?.clientWidth, canvas?.clientHeight];
    this.drawn = this.state();
    if (!width || !height) return;
    const ratio = Math.min(3, (window.devicePixelRatio || 1) * (app.canvas?.ds?.scale > 1 ? 2 : 1));
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.imageSmoothingQuality = "high";
    pen.beginPath();
    pen.roundRect(0, 0, width, height, 8);
    pen.clip();
    pen.fillStyle = "#17181c";
    pen.fillRect(0, 0, width, height);
    if (!this.frame) return write(pen, this.hint, width, height / 2);
    const place = this.place();
    const [left, top, wide, high] = place;
    pen.drawImage(this.frame, left, top, wide, high);
    if (this.mouth?.[3] > 0) {
      const [x, y, size] = this.mouth;
      oval(pen, left + x * wide, top + y * high, (size * wide) / 2, FOUND);
    }
    const [x, y, speaker, size] = this.values();
    if (speaker === "point") {
      if (size > 0) oval(pen, left + x * wide, top + y * high, (size * wide) / 2, MARK);
      mark(pen, left + x * wide, top + y * high, 9, 19);
    } else if (!this.hand) write(pen, this.words.click, width, height - 16);
    if (this.hand) this.magnify(pen, place, width, height);
  }

  // A loupe in the corner away from the pointer, its middle open.
  magnify(pen, [left, top, wide, high], width, height) {
    const [x, y] = this.hand;
    if (x < left || y < top || x > left + wide || y > top + high) return;
    const { radius, zoom, edge } = LOUPE;
    const [midX, midY] = [x < width / 2 ? width - radius - edge : radius + edge, radius + edge];
    const [shareX, shareY] = [(x - left) / wide, (y - top) / high];
    pen.save();
    pen.beginPath();
    pen.arc(midX, midY, radius, 0, 2 * Math.PI);
    pen.clip();
    pen.fillStyle = "#17181c";
    pen.fillRect(midX - radius, midY - radius, 2 * radius, 2 * radius);
    pen.drawImage(this.frame, midX - shareX * wide * zoom, midY - shareY * high * zoom, wide * zoom, high * zoom);
    mark(pen, midX, midY, 12, 24);
    pen.restore();
    for (const [style, line] of [[DARK, 4], ["#fff", 1.5]]) {
      pen.beginPath();
      pen.arc(midX, midY, radius, 0, 2 * Math.PI);
      [pen.strokeStyle, pen.lineWidth] = [style, line];
      pen.stroke();
    }
  }
}

// A mouth: the one that the last run found, or as wide as the user says.
function oval(pen, x, y, across, color) {
  pen.setLineDash([4, 3]);
  for (const [style, line] of [[DARK, 2.5], [color, 1.5]]) {
    pen.beginPath();
    pen.ellipse(x, y, Math.max(2, across), Math.max(2, across / 2), 0, 0, 2 * Math.PI);
    [pen.strokeStyle, pen.lineWidth] = [style, line];
    pen.stroke();
  }
  pen.setLineDash([]);
}

// Four ticks around a point, which itself stays free.
function mark(pen, x, y, from, to) {
  pen.lineCap = "round";
  for (const [style, line] of [[DARK, 4], [MARK, 2]]) {
    pen.beginPath();
    for (const [across, down] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      pen.moveTo(x + from * across, y + from * down);
      pen.lineTo(x + to * across, y + to * down);
    }
    [pen.strokeStyle, pen.lineWidth] = [style, line];
    pen.stroke();
  }
}

function write(pen, text, width, y) {
  pen.font = "12px system-ui, sans-serif";
  pen.textAlign = "center";
  const [lines, most] = [[], width - 24];
  for (const word of text.split(/(?<=[\s、，：？])/)) {
    const longer = `${lines.at(-1) ?? ""}${word}`;
    if (lines.length && pen.measureText(longer).width <= most) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  lines.forEach((line, index) => {
    const at = y + 4 + 16 * (index - (lines.length - 1) / 2);
    [pen.strokeStyle, pen.lineWidth, pen.lineJoin, pen.fillStyle] = ["rgba(0,0,0,.7)", 3, "round", "#e9e7e2"];
    pen.strokeText(line.trim(), width / 2, at);
    pen.fillText(line.trim(), width / 2, at);
  });
}

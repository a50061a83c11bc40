// Which frame a node's `source` will begin with, as far as the nodes upstream tell it.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const FURTHEST = 24; // nodes upstream
const BYPASSED = 4;
const LOADERS = {
  // node class: what its widgets say of the file
  LoadVideo: ({ file }) => ({ file }),
  LoadImage: ({ image }) => ({ image }),
  OmniSyncExample: ({ name }) => ({ example: name }),
  VHS_LoadVideo: ({ video, skip_first_frames }) => ({ file: video, skip: skip_first_frames ?? 0 }),
  VHS_LoadVideoFFmpeg: ({ video, start_time }) => ({ file: video, trims: [[start_time ?? 0, 0]] }),
};
const PASSING = {
  // node class: by which input the frames come, and how it moves the first one
  GetVideoComponents: { input: "video" },
  CreateVideo: { input: "images" },
  SaveVideo: { input: "video" },
  ImageScale: { input: "image" },
  ImageScaleBy: { input: "image" },
  ImageScaleToTotalPixels: { input: "image" },
  Reroute: {},
  "Video Slice": { input: "video", moves: ({ start_time, duration }) => ({ trims: [[start_time, duration]] }) },
  ImageFromBatch: { input: "image", moves: ({ batch_index }) => ({ skip: batch_index }) },
};

// { file | image | example, trims, skip }; { unknown } where that cannot be told; null where nothing is connected.
export function findSource(node) {
  let end = before(node, node.inputs?.findIndex((input) => input.name === "source") ?? -1);
  if (!end) return null;
  const moved = { trims: [], skip: 0 };
  for (let steps = 0; end && steps < FURTHEST; steps++) {
    const kind = end.comfyClass ?? end.type;
    const unknown = { unknown: `${kind} ${end.id}` };
    if (end.mode === BYPASSED) return unknown; // what comes then is somebody else's
    const [loads, passes] = [LOADERS[kind], PASSING[kind]];
    const values = given(end);
    if (!values || !(loads || passes)) return unknown;
    const said = loads ? loads(values) : (passes.moves?.(values) ?? {});
    if (moved.trims.length && said.skip) return unknown; // frames left out before a trim: nobody counts them here
    if (said.skip < 0) return unknown;
    moved.trims.unshift(...(said.trims ?? []).filter(([start, length]) => start || length));
    moved.skip += said.skip ?? 0;
    if (loads) {
      const { file, image, example } = said;
      return [file, image, example].some((name) => name && typeof name === "string")
        ? { file, image, example, ...moved }
        : unknown;
    }
    end = before(end, passes.input ? end.inputs.findIndex(({ name }) => name === passes.input) : 0);
  }
  return { unknown: "far" };
}

// Where the picture of a source lies; nothing where it is not known before a run.
export function addressOf({ file, image, example, trims, skip }) {
  if (image) {
    const [, path, type] = image.match(/^(.*?)(?:\s*\[(input|output|temp)\])?$/s);
    const cut = path.lastIndexOf("/");
    return viewURL(path.slice(cut + 1), path.slice(0, Math.max(0, cut)), type ?? "input");
  }
  if (!file && !example) return null;
  const asked = new URLSearchParams(file ? { file } : { example });
  if (trims.length) asked.set("trims", JSON.stringify(trims));
  if (skip) asked.set("skip", skip);
  return api.apiURL(`/omnisync/first_frame?${asked}`);
}

export function viewURL(filename, subfolder, type) {
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder: subfolder ?? "", type })}`);
}

export function picture(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = url;
  });
}

// A node's widgets by name; nothing where one of them is wired to a node. One that a subgraph shows as its own is not:
// the value is then the subgraph's.
function given(node) {
  const values = Object.fromEntries((node.widgets ?? []).map((widget) => [widget.name, widget.value]));
  for (const { widget, link } of node.inputs ?? []) {
    if (!widget || link == null) continue;
    const shown = shownOutside(node.graph, linkOf(node.graph, link));
    if (!shown) return null;
    values[widget.name] = shown.value;
  }
  return values;
}

// The widget by which a subgraph's own input is set, through the walls of all subgraphs around.
function shownOutside(graph, link) {
  for (let walls = 0; link && walls < FURTHEST; walls++) {
    if (!graph.inputNode || link.origin_id !== graph.inputNode.id) return null;
    const name = graph.inputs?.[link.origin_slot]?.name;
    const holder = holderOf(graph, app.rootGraph ?? app.graph);
    const input = holder?.inputs?.find((one) => one.name === name);
    if (input?.link == null) return holder?.widgets?.find((widget) => widget.name === name) ?? null;
    [graph, link] = [holder.graph, linkOf(holder.graph, input.link)];
  }
  return null;
}

// The node before an input, through the walls of subgraphs.
function before(node, slot) {
  let [graph, link] = [node.graph, linkOf(node.graph, node.inputs?.[slot]?.link)];
  for (let walls = 0; graph && link && walls < FURTHEST; walls++) {
    if (graph.inputNode && link.origin_id === graph.inputNode.id) {
      const name = graph.inputs?.[link.origin_slot]?.name;
      const holder = holderOf(graph, app.rootGraph ?? app.graph);
      const input = holder?.inputs?.find((one) => one.name === name);
      [graph, link] = [holder?.graph, linkOf(holder?.graph, input?.link)];
      continue;
    }
    const found = graph.getNodeById?.(link.origin_id);
    const inner = found?.subgraph;
    if (!inner || found.mode === BYPASSED) return found ?? null;
    [graph, link] = [inner, linkOf(inner, inner.outputs?.[link.origin_slot]?.linkIds?.[0])];
  }
  return null;
}

function linkOf(graph, id) {
  return id == null ? null : (graph?.getLink?.(id) ?? graph?.links?.[id] ?? null);
}

// The node that stands for a subgraph; the first one, where there are several.
function holderOf(subgraph, graph) {
  for (const node of graph?.nodes ?? []) {
    if (!node.subgraph) continue;
    if (node.subgraph === subgraph) return node;
    const deeper = holderOf(subgraph, node.subgraph);
    if (deeper) return deeper;
  }
  return null;
}

// Who searches for "omnisync" finds Lip Sync Video first.
//
// The search ranks by how a node's id or title begins and then by their length; aliases find a node and do not rank it.
// All ids of this pack begin alike, so that the shortest would come first. Among nodes found by such a beginning, and
// of which the host knows no popularity, this one is put before the others.

import { app } from "../../../scripts/app.js";

const FIRST = "OmniSyncLipSyncVideo";
const BEGINS = 1; // the host's tier of names that begin with what is sought

app.registerExtension({
  name: "OmniSync.Search",
  beforeRegisterVueAppNodeDefs(defs) {
    const def = defs.find(({ name }) => name === FIRST);
    if (!def) return;
    // Instead of the host's own, which puts a node's popularity (0 for this one) between the tier and the rest.
    def.postProcessSearchScores = ([tier, within, length, ...rest]) => {
      const byItsId = tier === BEGINS && length === FIRST.length;
      return [tier, byItsId ? -1 : 0, within, length, ...rest];
    };
  },
});

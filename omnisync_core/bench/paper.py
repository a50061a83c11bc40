"""What papers print, to stand beside. Units are those of tables: HyperIQA times 100."""

from __future__ import annotations

from dataclasses import dataclass

OMNISYNC = "OmniSync, arXiv 2505.21448"
OMNIEDIT = "OmniEdit, arXiv 2603.09084"
HDTF_COLUMNS = ("fid", "fvd", "csim", "niqe", "brisque", "hyperiqa", "lmd", "lse_c")
ABLATION_COLUMNS = ("fid", "fvd", "csim", "lse_c")


@dataclass(frozen=True)
class Printed:
    """A row of a paper's table, by column."""

    name: str
    values: dict[str, float]
    source: str


def _rows(columns: tuple[str, ...], source: str, table: dict[str, tuple[float, ...]]) -> list[Printed]:
    return [Printed(name, dict(zip(columns, values, strict=True)), source) for name, values in table.items()]


HDTF = [
    *_rows(HDTF_COLUMNS, f"{OMNISYNC}, HDTF", {
        "Wav2Lip": (14.912, 543.340, 0.852, 6.495, 53.372, 45.822, 10.007, 7.630),
        "IP-LAP": (9.512, 325.691, 0.809, 6.533, 54.402, 50.086, 7.695, 7.260),
        "Diff2Lip": (12.079, 461.341, 0.869, 6.261, 49.361, 48.869, 18.986, 7.140),
        "MuseTalk": (8.759, 231.418, 0.862, 5.824, 46.003, 55.397, 8.701, 6.890),
        "LatentSync": (8.518, 216.899, 0.859, 6.270, 50.861, 53.208, 17.344, 8.050),
        "OmniSync": (7.855, 199.627, 0.875, 5.481, 37.917, 56.356, 7.097, 7.309),
    }),
    *_rows(HDTF_COLUMNS, f"{OMNIEDIT}, HDTF", {
        "OmniEdit (HuMo 17B)": (7.623, 190.299, 0.883, 5.385, 37.412, 55.973, 7.482, 7.286),
    }),
]  # fmt: skip
ABLATION = f"{OMNISYNC}, AIGC-LipSync (ablation)"
AIGC = [
    *_rows(ABLATION_COLUMNS, f"{ABLATION}; success by people: 97.40 % of all, 87.78 % of the stylised", {
        "OmniSync": (15.710, 287.168, 0.814, 7.06),
    }),
    *_rows(ABLATION_COLUMNS, ABLATION, {
        "OmniSync without pairs by timestep": (21.552, 549.768, 0.727, 7.00),
        "OmniSync without progressive noise": (16.731, 361.282, 0.805, 7.03),
        "OmniSync, static guidance, high": (22.725, 348.335, 0.782, 7.10),
    }),
    *_rows(("lse_c",), ABLATION, {"OmniSync, static guidance, low": (4.16,)}),
]  # fmt: skip
PAPERS = {"hdtf": HDTF, "aigc": AIGC}

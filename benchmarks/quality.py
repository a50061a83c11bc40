"""Figures on unseen drawn characters, and the ablation: python benchmarks/quality.py --out figures"""

from __future__ import annotations

import common


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grid", action="store_true", help="also over guidance settings")
    parser.add_argument("--ablate", action="store_true", help="also the ablation")
    options = parser.parse_args()

    from omnisync_core.evaluation.bench import bundled, own
    from omnisync_core.evaluation.synth import ablate, evaluate

    model = options.model or None
    made = {"seed": options.seed, "engines": bundled(model), "sampling": own(model)}
    evaluate(f"{options.out}/figures", clips=options.clips, grid=options.grid, **made)
    if options.ablate:
        ablate(f"{options.out}/ablation", clips=min(48, options.clips), **made)


if __name__ == "__main__":
    main()

/**
 * @file Muon (Jordan et al. 2024): the momentum of a matrix is made (nearly) orthogonal before it is applied, so that every direction moves
 * alike. A quintic Newton-Schulz iteration does that with matmuls alone. For the matrices inside blocks; embeddings, norms and
 * biases take AdamW.
 */

import { Tensor, launch, noGrad, scope, where } from "../../tensor/index.js";
import { stateLike, type NamedParameters, type Optimizer, type Update } from "./optimizer.js";

export interface MuonOptions {
  readonly momentum: number;
  readonly weightDecay: number;
  /** The rate of Muon's matrices, as a multiple of the schedule's. */
  readonly rateScale: number;
}

export class Muon implements Optimizer {
  steps = 0;
  readonly #momentum: Map<string, Tensor>;

  /** `parameters` are matrices. */
  constructor(
    private readonly parameters: NamedParameters,
    private readonly options: MuonOptions,
  ) {
    this.#momentum = stateLike(parameters, "muon", (like) => Tensor.zeros(like.shape, { device: like.device }));
  }

  step({ rate, gradScale }: Update): void {
    this.steps++;
    const { momentum, weightDecay, rateScale } = this.options;
    noGrad(() => {
      for (const [name, w] of this.parameters) {
        const { grad } = w;
        if (grad === undefined) continue;
        scope(() => {
          const m = this.#momentum.get(`muon.${name}`)!;
          // 1, or 0 when the scale is not finite: then the gradient counts as 0, every factor below is 0, and nothing changes.
          const factor = gradScale?.isFinite();
          const g = gradScale === undefined ? grad : where(gradScale.isFinite().notEqual(0), grad.mul(gradScale), 0);
          launch("accumulate", { x: m, y: m, factor }, { scale: momentum - 1 });
          launch("accumulate", { x: g, y: m }, { scale: 1 });
          // Nesterov: look ahead by one more step of momentum.
          const ahead = m.mul(momentum).add(g);
          const [rows, columns] = w.shape;
          const step = rate * rateScale;
          launch("accumulate", { x: w, y: w, factor }, { scale: -step * weightDecay });
          launch("accumulate", { x: orthogonalize(ahead), y: w, factor }, { scale: -step * Math.sqrt(Math.max(1, rows / columns)) });
        });
      }
    });
  }

  state(): Map<string, Tensor> {
    return new Map(this.#momentum);
  }

  dispose(): void {
    for (const tensor of this.#momentum.values()) tensor.dispose();
  }
}

/**
 * The nearest orthogonal matrix to g [rows, columns], roughly: five steps of X <- aX + (bA + cA^2) X, A = X X^T, whose coefficients make
 * the slope at zero steep rather than the limit exact (singular values end between 0.7 and 1.2).
 */
export function orthogonalize(g: Tensor): Tensor {
  const [a, b, c] = [3.4445, -4.775, 2.0315];
  const [rows, columns] = g.shape;
  let x = g.div(g.norm().add(1e-7)).cast("bf16");
  if (rows > columns) x = x.transpose(0, 1).contiguous();
  for (let i = 0; i < 5; i++) {
    x = scope(() => {
      const gram = x.matmul(x.transpose(0, 1));
      return x.mul(a).add(gram.mul(b).add(gram.matmul(gram).mul(c)).matmul(x));
    });
  }
  return rows > columns ? x.transpose(0, 1).contiguous() : x;
}

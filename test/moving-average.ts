/**
 * A mixer of one's own, as a user adds one: an exponential moving average of the inputs, with a state that has no undo.
 *
 *   s_t = decay s_(t-1) + (1 - decay) x_t,   y_t = s_t W^T
 */

import { z } from "zod";
import { Linear, Mixer, RecurrentState, type BuildPlace, type ForwardContext, type StateOptions, type Stateful, type mixers } from "../src/model/index.js";
import { concat, type Tensor } from "../src/tensor/index.js";

interface MovingAverageSpec {
  readonly kind: "movingAverage";
  readonly decay: number;
}

declare module "../src/model/mixers/index.js" {
  interface MixerSpecs {
    readonly movingAverage: MovingAverageSpec;
  }
}

class MovingAverage extends Mixer implements Stateful<RecurrentState<"average">> {
  readonly hookName = "average";
  readonly output: Linear;

  constructor(private readonly decay: number, private readonly place: BuildPlace) {
    super();
    this.output = new Linear(place.init, place.hiddenSize, place.hiddenSize, { bias: false, std: place.residualStd });
  }

  get activationSize() {
    return { live: 2 * this.place.hiddenSize, kept: 2 * this.place.hiddenSize };
  }

  forward(x: Tensor, { state }: ForwardContext): Tensor {
    let average = state && state.of(this).read(state).average.cast(x.dtype);
    const averages = Array.from({ length: x.shape[1] }, (_, t) => {
      const input = x.slice(1, t, t + 1).mul(1 - this.decay);
      return (average = average?.mul(this.decay).add(input) ?? input);
    });
    if (state !== undefined) state.of(this).write(state, { average: average! });
    return this.output.forward(concat(averages, 1));
  }

  newState(options: StateOptions) {
    return new RecurrentState({ average: [1, this.place.hiddenSize] }, options);
  }
}

export function addMovingAverage(to: typeof mixers): void {
  const schema = z.strictObject({ kind: z.literal("movingAverage"), decay: z.number().min(0).max(1).default(0.9) });
  to.add({ kind: "movingAverage", schema, build: (spec: MovingAverageSpec, place) => new MovingAverage(spec.decay, place) });
}

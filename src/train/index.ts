/** @file The training room: the loop, and what it is made of. */

export { estimateMemory, checkMemory, measureMatmulRate, availableMemory, type MemoryEstimate } from "./machine.js";
export { evaluateObjective, type EvaluationOptions } from "./evaluation.js";
export type { Means, Objective, ObjectiveResult, Sum } from "./objective.js";
export { makeOptimizer, type Optimizer, type OptimizerOptions } from "./optimizers/index.js";
export { pretraining } from "./pretraining.js";
export { configOfRun, isRunComplete, type TrainingState } from "./run-folder.js";
export { learningRate, type ScheduleOptions } from "./schedule.js";
export { trainSettings, type TrainSettings, type TrainSettingsInput } from "./settings.js";
export { trainableParameters } from "./trainable.js";
export { train, TrainingError, type StepReport, type StepSums, type TrainOptions, type TrainingData } from "./trainer.js";

/** @file Every device that this machine can run against the reference device. */

import { CpuDevice } from "./cpu/device.js";
import { conformanceSuite, type Subject } from "./conformance/suite.js";
import { ReferenceDevice } from "./reference/device.js";

const reference: Subject = { name: "reference", create: () => new ReferenceDevice() };
const cpus = CpuDevice.availableIsas().map((isa): Subject => ({ name: `cpu ${isa}`, create: (threads) => CpuDevice.create({ isa, threads }) }));

conformanceSuite(cpus);

/** @file Every instruction set that this machine can run, and portable, against the reference device. */

import { it } from "vitest";
import { CpuDevice } from "./cpu/device.js";
import { conformanceSuite } from "./conformance/suite.js";

const isas = CpuDevice.availableIsas();
if (isas.length === 0) it.skip("no native kernels were built for this machine");
else conformanceSuite(isas.map((isa) => ({ name: `cpu ${isa}`, create: (threads) => CpuDevice.create({ isa, threads }) })));

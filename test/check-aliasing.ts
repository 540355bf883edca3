/** @file Before each test file: launches whose operands share memory against the contract throw. */
import { checkAliasing } from "../src/tensor/launch.js";

checkAliasing();

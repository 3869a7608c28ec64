/** How a program of the bench begins: in a lab, and with the machine that it runs on. */
import process from 'node:process';
import { enterLab } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import { describeMachine, type Machine, machineLine } from './machine.js';

/**
 * Comes back inside a lab, with the machine told; elsewhere runs the program again in one, and ends
 * with it. `lacks`: why there can be no lab here; undefined when there can.
 */
export async function enterBench(lacks: string | undefined): Promise<Machine> {
  await needLab(lacks);
  const machine = describeMachine();
  console.log(machineLine(machine));
  console.log(machine.command);
  return machine;
}

/** The same, with nothing told. */
export async function needLab(
  lacks: string | undefined,
  options: Parameters<typeof enterLab>[1] = {},
): Promise<void> {
  if (lacks !== undefined) {
    console.error(lacks);
    process.exit(1);
  }
  if (!Lab.inside()) process.exit(await enterLab(undefined, options));
}

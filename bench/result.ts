/** What a program of the bench leaves with `--out=FOLDER`: a JSON file and a plot beside it. */
import fs from 'node:fs';
import path from 'node:path';
import { type Machine, machineLine } from './machine.js';
import { type Panel, plotBars } from './plot.js';

/** Writes FOLDER/NAME.json and, where there are panels, FOLDER/NAME.svg; says so. */
export function writeResult(
  folder: string,
  name: string,
  result: { readonly machine: Machine; readonly [name: string]: unknown },
  panels: readonly Panel[],
): void {
  fs.mkdirSync(folder, { recursive: true });
  const file = path.join(folder, name);
  fs.writeFileSync(`${file}.json`, `${JSON.stringify(result, null, 1)}\n`);
  const { command } = result.machine;
  if (panels.length > 0) {
    fs.writeFileSync(`${file}.svg`, plotBars(panels, [machineLine(result.machine), command]));
  }
  console.log(`written: ${file}.json${panels.length > 0 ? `, ${file}.svg` : ''}`);
}

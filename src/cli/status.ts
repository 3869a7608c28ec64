/** `weft status`: asks the running weft and tells, for people or as JSON. */
import { systemClock } from '../control/daemon/clock.js';
import { HostError } from '../control/host/errors.js';
import { type Runner, systemRunner } from '../control/host/runner.js';
import { describe } from '../operate/status/describe.js';
import { layOut } from '../operate/status/lines.js';
import { plainJson } from '../operate/status/plain.js';
import { type Answer, isStarting } from '../operate/status/status.js';
import { describeDropsView } from '../operate/status/views/drops.js';
import {
  fateOf,
  isAddress,
  type KernelRoute,
  readKernelRoute,
} from '../operate/status/views/fate.js';
import { describePeersView } from '../operate/status/views/peers.js';
import { describeRoutesView } from '../operate/status/views/routes.js';
import { type Found, findRunning } from './find-running.js';
import { type Flags, parseFlags, UsageError } from './flags.js';
import { flagsOf } from './manual/command.js';
import { helpOf } from './manual/help.js';
import { STATUS, VIEWS, type View } from './manual/status.js';
import { complain, complainText, isTerminal, paint, printJson, printText } from './print.js';
import { watch } from './status-watch.js';

/** Of the JSON; a field that is taken away, or means something else, makes it one more. */
const SCHEMA = 1;

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(flagsOf(STATUS), args);
  if (flags.bool('help')) {
    printText(helpOf(STATUS));
    return 0;
  }
  const { view, address } = readOperands(flags);
  if (flags.bool('watch')) return watchIt(flags, view);
  const found = await findRunning(flags, process.env);
  const { answer } = found;
  if (answer === undefined) return tellNone(found, flags.bool('json'));
  if (view === 'route') return tellFate(answer, address, flags.bool('json'));
  if (flags.bool('json')) printJson(plainJson(jsonOf(answer, view)));
  else show(textOf(answer, view, isTerminal(1)), view === undefined ? found.others : '');
  return isWell(answer) ? 0 : 1;
}

function readOperands({ rest }: Flags): { view: View | undefined; address: string } {
  const [word, ...more] = rest;
  if (word === undefined) return { view: undefined, address: '' };
  const view = VIEWS.find((name) => name === word);
  if (view === undefined) {
    throw new UsageError(`${JSON.stringify(word)} is none of: ${VIEWS.join(', ')}`);
  }
  const address = view === 'route' ? (more.shift() ?? '') : '';
  if (view === 'route' && !isAddress(address)) {
    const given = address === '' ? 'route' : `route ${address}`;
    throw new UsageError(`${given}: give an IPv4 address, such as 10.5.72.9`);
  }
  if (more.length > 0) throw new UsageError(`${JSON.stringify(more[0])} is too much`);
  return { view, address };
}

function isWell(answer: Answer): boolean {
  return !isStarting(answer) && answer.verdict.state === 'well';
}

function tellNone({ why, several, others }: Found, json: boolean): number {
  if (json) printJson(plainJson({ schema: SCHEMA, state: 'none', error: why.join('; ') }));
  for (const line of why) complain(`weft status: ${line}`);
  complainText(others);
  return several ? 2 : 1;
}

/** The document of a view has the fields of the whole one that it is about. */
function jsonOf(answer: Answer, view: View | undefined): object {
  if (isStarting(answer)) return { schema: SCHEMA, state: 'starting', ...answer };
  const head = { schema: SCHEMA, state: 'running' };
  const { verdict, peers, routes } = answer;
  switch (view) {
    case 'peers':
      return { ...head, verdict, peers };
    case 'routes':
      return { ...head, verdict, peers, routes };
    case 'drops':
      if (answer.backend !== 'vxlan') return { ...head, verdict, drops: {} };
      return {
        ...head,
        verdict,
        drops: answer.drops,
        dropSamples: answer.dropSamples,
        strangers: answer.strangers,
        host: answer.host,
      };
    default:
      return { ...head, ...answer };
  }
}

function textOf(answer: Answer, view: View | undefined, colours: boolean): string {
  if (isStarting(answer)) return describe(answer, colours);
  switch (view) {
    case 'peers':
      return layOut(describePeersView(answer), colours);
    case 'routes':
      return layOut(describeRoutesView(answer), colours);
    case 'drops':
      return layOut(describeDropsView(answer), colours);
    default:
      return describe(answer, colours);
  }
}

/** `text` is laid out, so plain but for its colours. */
function show(text: string, more: string): void {
  paint(1, text);
  printText(more);
}

async function tellFate(answer: Answer, address: string, json: boolean): Promise<number> {
  if (isStarting(answer)) {
    if (json) printJson(plainJson(jsonOf(answer, 'route')));
    else show(describe(answer, isTerminal(1)), '');
    return 1;
  }
  const fate = fateOf(address, answer, await askKernel(systemRunner, address));
  const lines = fate.lines.map(([label, text]) => ({ label, text }));
  if (json)
    printJson(
      plainJson({ schema: SCHEMA, state: 'running', address, arrives: fate.arrives, lines }),
    );
  else show(layOut(fate.lines, isTerminal(1)), '');
  return fate.arrives ? 0 : 1;
}

/** Which way the kernel would send to an address; why it tells none, where there is no `ip`, too. */
export async function askKernel(runner: Runner, address: string): Promise<KernelRoute> {
  try {
    const { stdout, stderr } = await runner.run(['ip', '-j', 'route', 'get', address]);
    return readKernelRoute(stdout, stderr);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { refused: error.message };
  }
}

function watchIt(flags: Flags, view: View | undefined): Promise<number> {
  if (view !== undefined || flags.bool('json')) {
    throw new UsageError('-watch shows the whole, as text: leave out the rest');
  }
  const seconds = Number(flags.text('interval'));
  if (!(seconds >= 0.1 && seconds <= 3600)) {
    throw new UsageError(`-interval=${flags.text('interval')}: give 0.1 to 3600 seconds`);
  }
  const count = flags.int('count');
  if (count < 0) throw new UsageError(`-count=${count}: give a number from 0 up`);
  const ask = async (): Promise<Answer | string> => {
    const { answer, why } = await findRunning(flags, process.env);
    return answer ?? why.join('; ');
  };
  return watch({ clock: systemClock, intervalMs: seconds * 1000, count, ask });
}

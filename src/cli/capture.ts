/** `weft capture`: the packets of the weft that runs, as pcapng or as lines. */
import net from 'node:net';
import os from 'node:os';
import process from 'node:process';
import tty from 'node:tty';
import type { CaptureAnswer, CaptureRequest } from '../control/daemon/capture-request.js';
import { systemClock } from '../control/daemon/clock.js';
import { capturePath } from '../control/host/control-socket.js';
import { messageOf } from '../control/store/store.js';
import { parseAddress } from '../dataplane/wire/ipv4.js';
import { type Answer, isStarting } from '../operate/status/status.js';
import { version } from './build.js';
import { requestOf, type Wanted, wantedOf } from './capture/request.js';
import { Run } from './capture/run.js';
import { PcapngSink, RingSink, type Sink, TextSink } from './capture/sinks.js';
import { findRunning } from './find-running.js';
import { parseFlags, UsageError } from './flags.js';
import { CAPTURE } from './manual/capture.js';
import { flagsOf } from './manual/command.js';
import { helpOf } from './manual/help.js';
import { complain, printText } from './print.js';

/** The weft's answer comes at once. */
const ANSWER_MS = 3_000;
const ANSWER_BYTES = 65_536;

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(flagsOf(CAPTURE), args);
  if (flags.bool('help')) {
    printText(helpOf(CAPTURE));
    return 0;
  }
  if (flags.rest.length > 0) throw new UsageError(`${JSON.stringify(flags.rest[0])} is not a flag`);
  const request = requestOf(flags, process.pid);
  const wanted = wantedOf(flags, tty.isatty(1));
  if (request.rate > 0) stepAside();
  const { answer: running, name, folder, why, several } = await findRunning(flags, process.env);
  if (running === undefined) {
    for (const line of why) complain(`weft capture: ${line}`);
    return several ? 2 : 1;
  }
  const lack = lackOf(running);
  if (lack !== undefined) {
    complain(`weft capture: ${lack}`);
    return 1;
  }
  try {
    const { connection, answer, rest } = await ask(capturePath(name, folder), request);
    if ('error' in answer) throw new Error(answer.error);
    if (!answer.running) complain(`weft capture: no packets can flow on ${name} just now; waiting`);
    return await capture(connection, answer, { request, wanted, args }, rest);
  } catch (error) {
    complain(`weft capture: ${describe(error, name)}`);
    return 1;
  }
}

/** Why it can show no packets. */
function lackOf(running: Answer): string | undefined {
  if (isStarting(running)) return `no packets flow yet; ${running.waitingFor}`;
  if (running.backend === 'vxlan') return undefined;
  const { interface: name } = running.underlay;
  return `with host-gw the kernel carries all packets, and weft sees none: tcpdump -ni ${name}`;
}

/** Whatever else wants the processor goes first: what is not taken in time is counted as missed. */
function stepAside(): void {
  try {
    os.setPriority(os.constants.priority.PRIORITY_LOW);
  } catch {
    // Not allowed to everybody; -rate bounds it as well.
  }
}

interface Asked {
  readonly request: CaptureRequest;
  readonly wanted: Wanted;
  readonly args: readonly string[];
}

async function capture(
  connection: net.Socket,
  answer: Extract<CaptureAnswer, { device: string }>,
  { request, wanted, args }: Asked,
  rest: Buffer,
): Promise<number> {
  const { device, address, port, drops } = answer;
  const run = new Run({
    ...{ connection, clock: systemClock, count: wanted.count, seconds: wanted.seconds },
    place: { address: parseAddress(address) ?? 0, port, drops },
    begun: () => complain(`weft capture: capturing on ${device}`),
    tell: (line) => complain(`weft capture: ${line}`),
  });
  const options = {
    ...{ device, file: wanted.file, snap: request.filter.snap },
    about: { application: `weft ${version}`, comment: ['weft capture', ...args].join(' ') },
    failed: (error: NodeJS.ErrnoException) =>
      run.broken(error.code === 'EPIPE' ? undefined : `${wanted.file}: ${error.message}`),
    drained: () => run.drained(),
  };
  let sink: Sink;
  try {
    sink = makeSink(wanted, options);
  } catch (error) {
    // An open connection would keep this process, and the weft showing it packets.
    connection.destroy();
    throw new Error(`${wanted.file} cannot be written: ${messageOf(error)}`);
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => run.end());
  }
  const { captured, missed, trouble } = await run.into(sink, rest);
  const what = `${count(captured)} captured, ${missed} not captured`;
  const why =
    missed === 0 ? '' : ' (more than -rate, or than was taken in time; traffic was not held up)';
  complain(`weft capture: ${what}${why}`);
  if (trouble !== undefined) complain(`weft capture: ${trouble}`);
  return trouble === undefined ? 0 : 1;
}

function makeSink(wanted: Wanted, options: ConstructorParameters<typeof PcapngSink>[0]): Sink {
  if (wanted.asText) return new TextSink(options);
  if (wanted.files === 0) return new PcapngSink(options);
  return new RingSink({ ...options, files: wanted.files, fileBytes: wanted.fileBytes });
}

/** Rejects with the socket's error, with ETIMEDOUT when the weft says nothing. */
function ask(
  file: string,
  request: CaptureRequest,
): Promise<{ connection: net.Socket; answer: CaptureAnswer; rest: Buffer }> {
  return new Promise((resolve, reject) => {
    const connection = net.connect({ path: file, allowHalfOpen: true });
    let got = Buffer.alloc(0);
    const fail = (error: Error) => {
      cancel();
      connection.destroy();
      reject(error);
    };
    const cancel = systemClock.after(ANSWER_MS, () => {
      const error = new Error(`no answer within ${ANSWER_MS / 1000} s`);
      fail(Object.assign(error, { code: 'ETIMEDOUT' }));
    });
    const noAnswer = () => fail(new Error('it ended the connection without an answer'));
    const hear = (part: Buffer) => {
      got = Buffer.concat([got, part]);
      const end = got.indexOf('\n');
      if (end < 0) {
        if (got.length > ANSWER_BYTES) noAnswer();
        return;
      }
      cancel();
      connection.pause();
      connection.off('data', hear).off('error', fail).off('close', noAnswer);
      try {
        const answer = JSON.parse(got.toString('utf8', 0, end)) as CaptureAnswer;
        resolve({ connection, answer, rest: got.subarray(end + 1) });
      } catch {
        noAnswer();
      }
    };
    connection.once('connect', () => connection.write(`${JSON.stringify(request)}\n`));
    connection.on('data', hear).once('error', fail).once('close', noAnswer);
  });
}

function describe(error: unknown, name: string): string {
  const { code } = error as NodeJS.ErrnoException;
  const why = messageOf(error);
  switch (code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return (
        `the weft of ${name} cannot be asked for packets (${why}): it has just ended, or is older ` +
        'than this command; see: weft status'
      );
    case 'EACCES':
    case 'EPERM':
      return `the packets of ${name} are for root alone (${why})`;
    case 'ETIMEDOUT':
      return `the weft of ${name} runs but its main thread hangs (${why}); see: weft status`;
    default:
      return why;
  }
}

function count(packets: number): string {
  return packets === 1 ? '1 packet' : `${packets} packets`;
}

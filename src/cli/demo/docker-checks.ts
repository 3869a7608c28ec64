/** What `weft demo -docker` tries beside the checks of every demo. */
import fs from 'node:fs';
import { CommandError } from '../../lab/command.js';
import { type Findings, followWay } from './checks.js';
import { WHOAMI } from './engines.js';
import { type Screen, Unexpected } from './screen.js';
import { type Box, OUTSIDE, type Stage } from './stage.js';

/** What each container has: its link, its address, its routes. */
export async function interfaces(stage: Stage, screen: Screen): Promise<void> {
  for (const [index, box] of stage.containers.entries()) {
    const file = stage.hosts[index < 2 ? 0 : 1]!.subnetFile()!;
    const show = async (...argv: string[]): Promise<string> => {
      screen.note(screen.dim(`docker exec ${box.name} ${argv.join(' ')}`));
      const { stdout } = await box.run(argv);
      screen.note(stdout);
      return stdout;
    };
    const link = await show('ip', 'link', 'show', 'eth0');
    const address = await show('ip', 'addr', 'show', 'eth0');
    const routes = await show('ip', 'route');
    const expect = (text: string, wanted: string): void => {
      if (!text.includes(`${wanted} `)) throw new Unexpected(`${wanted} in ${box.name}`, text);
    };
    expect(link, `mtu ${file.mtu}`);
    expect(address, `inet ${box.address}/${file.subnet.split('/')[1]!}`);
    expect(routes, `default via ${file.subnet.split('/')[0]!}`);
  }
}

/** A container reaches what is no part of the overlay, and is seen there by its host's address. */
export async function outside(stage: Stage, screen: Screen, findings: Findings): Promise<void> {
  const there = stage.outside!;
  there.write(`/run${WHOAMI.file}`, WHOAMI.script);
  fs.chmodSync(there.path(`/run${WHOAMI.file}`), 0o755);
  there.start(['busybox', ...httpd(`/run${WHOAMI.folder}`)]);
  for (const [index, host] of stage.hosts.entries()) {
    const from = stage.containers[2 * index]!;
    const seen = await sourceSeen(screen, from, OUTSIDE.address);
    if (seen !== host.address) {
      throw new Unexpected(`${from.name} to be seen as ${host.name}, ${host.address}`, seen);
    }
  }
  const from = stage.containers[0]!;
  const expected = [from.gateway, stage.gateway, OUTSIDE.address];
  await followWay(screen, from, OUTSIDE.address, expected);
  screen.note("that is docker0 on host1, the underlay's gateway, the outside");
  findings.outside = stage.hosts[0]!.address;
}

/** Inside the overlay nothing is masqueraded: a container sees the other's own address. */
export async function ownAddress(stage: Stage, screen: Screen): Promise<void> {
  const [one, , other] = stage.containers as [Box, Box, Box, Box];
  for (const box of [one, other]) box.start(httpd(WHOAMI.folder));
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    const seen = await sourceSeen(screen, from, to.address);
    if (seen !== from.address) {
      throw new Unexpected(`${to.name} to see ${from.name} as ${from.address}`, seen);
    }
  }
}

/** busybox's HTTP server, over IPv4 alone: else it writes addresses as IPv6 has them. */
function httpd(folder: string): string[] {
  return ['httpd', '-f', '-p', '0.0.0.0:80', '-h', folder];
}

/** What the HTTP server at `to` answers: the address that the question came from. */
async function sourceSeen(screen: Screen, from: Box, to: string): Promise<string> {
  const argv = ['wget', '-q', '-O', '-', `http://${to}${WHOAMI.path}`];
  screen.note(screen.dim(`docker exec ${from.name} ${argv.join(' ')}`));
  const deadline = Date.now() + 5_000; // the server may be starting yet
  for (;;) {
    try {
      const seen = (await from.run(argv, { timeout: 3_000 })).stdout.trim();
      screen.note(`${seen}, says ${to}`);
      return seen;
    } catch (error) {
      if (!(error instanceof CommandError) || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** The Debian releases that the units are tried on, with what a host of Docker's has there. */
import fs from 'node:fs';
import path from 'node:path';
import { readArguments } from '../packages/arguments.js';

export interface Release {
  /** As `--only` names it. */
  readonly number: string;
  readonly name: string;
  /** Packages beside those that every host has. */
  readonly packages: readonly string[];
}

const EVERYWHERE = [
  ...['systemd', 'kmod', 'procps', 'iproute2', 'iptables', 'iputils-ping', 'libstdc++6'],
  ...['docker.io', 'containernetworking-plugins'],
];

const RELEASES: readonly Release[] = [
  { number: '12', name: 'bookworm', packages: EVERYWHERE },
  // Its docker.io comes without the command.
  { number: '13', name: 'trixie', packages: [...EVERYWHERE, 'docker-cli'] },
];

/** Those that `--only=NUMBER` leaves, and whether it is to be brief. Ends the process for other arguments. */
export function chosenReleases(): { releases: readonly Release[]; brief: boolean } {
  const { releases, brief } = readArguments(
    'test-units',
    RELEASES.map(({ number }) => number),
  );
  return { releases: RELEASES.filter(({ number }) => releases.includes(number)), brief };
}

/** The package that `npm run package` made. */
export function builtPackage(): string {
  const folder = path.resolve('dist/packages');
  const names = fs.existsSync(folder) ? fs.readdirSync(folder) : [];
  const name = names.find((one) => /^weft_.*\.deb$/.test(one));
  if (name === undefined) throw new Error(`no Debian package in ${folder}: npm run package -- deb`);
  return path.join(folder, name);
}

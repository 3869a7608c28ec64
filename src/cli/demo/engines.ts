/**
 * The Docker engines of `weft demo -docker`: one a host on the subnet that weft acquired, with
 * images made of this machine's programs, since there is no registry to ask.
 */
import path from 'node:path';
import { Docker, type DockerContainer } from '../../lab/docker.js';
import { type Host, WEFT } from '../../lab/host.js';
import { packImage } from '../../lab/image.js';
import type { Lab } from '../../lab/lab.js';
import { type Screen, Unexpected } from './screen.js';
import type { Stage } from './stage.js';

/** Tells whoever asks by HTTP the address that the question came from. */
export const WHOAMI = {
  folder: '/www',
  file: '/www/cgi-bin/whoami',
  path: '/cgi-bin/whoami',
  script: '#!/bin/sh\necho "Content-Type: text/plain"\necho\necho "$REMOTE_ADDR"\n',
};

const IMAGES = {
  busybox: { programs: ['busybox'], files: { [WHOAMI.file]: WHOAMI.script } },
  iperf3: { programs: ['busybox', 'iperf3'] },
};

/** Where `weft docker-opts` writes, as in the unit file; and the variable in it. */
const OPTIONS_FILE = '/run/flannel/docker';
const VARIABLE = 'DOCKER_NETWORK_OPTIONS';

export class Engines {
  /** One a host, in the order of the hosts. */
  readonly engines: Docker[] = [];
  readonly #lab: Lab;
  readonly #stage: Stage;
  readonly #screen: Screen;

  constructor(lab: Lab, stage: Stage, screen: Screen) {
    this.#lab = lab;
    this.#stage = stage;
    this.#screen = screen;
  }

  /**
   * dockerd on each host; docker0 must come up with the address that subnet.env has. It switches
   * forwarding on and closes FORWARD: only weft's rules let the overlay through.
   */
  async start(): Promise<void> {
    const screen = this.#screen;
    screen.note(screen.dim(`on each host: weft docker-opts -c -k ${VARIABLE} -d ${OPTIONS_FILE}`));
    screen.note(screen.dim(`              dockerd $${VARIABLE}`));
    for (const host of this.#stage.hosts) {
      const options = await dockerOptions(host);
      const engine = await Docker.start(host, options);
      this.engines.push(engine);
      this.#stage.daemons.push({ host, running: engine.daemon });
      screen.note(`${host.name}  dockerd ${options.join(' ')}`);
      const format =
        'Docker {{.ServerVersion}}, {{.Driver}}, cgroups of version {{.CgroupVersion}}';
      screen.note(`       ${(await engine.run(['info', '--format', format])).stdout.trim()}`);
      if (engine.opened !== undefined) screen.note(`       ${engine.opened}`);
      const { stdout } = await host.run(['ip', '-o', '-4', 'address', 'show', 'docker0']);
      const [, address = 'none'] = /inet (\S+)/.exec(stdout) ?? [];
      if (address !== host.subnetFile()!.subnet) {
        throw new Unexpected(`docker0 with ${host.subnetFile()!.subnet}`, address);
      }
      const { stdout: rules } = await host.run(['iptables', '-S', 'FORWARD']);
      const [, policy = 'none'] = /^-P FORWARD (\w+)/.exec(rules) ?? [];
      if (policy !== 'DROP') throw new Unexpected('FORWARD closed by dockerd', policy);
      screen.note(`       docker0 ${address}, policy of FORWARD ${policy}`);
    }
  }

  async images(): Promise<void> {
    for (const [name, image] of Object.entries(IMAGES)) {
      const tar = await packImage(`${this.#lab.directory('shared', 'images')}/${name}`, image);
      const seen = path.join('/run/shared/images', path.basename(tar));
      for (const engine of this.engines) await engine.import(seen, name, ['sh']);
      this.#screen.note(
        `${name.padEnd(7)}  docker import, of Debian's ${image.programs.join(' and ')}`,
      );
    }
    const { stdout } = await this.engines[0]!.run(['images']);
    this.#screen.note(this.#screen.dim('on host1: docker images'));
    this.#screen.note(stdout);
  }

  /** Two containers a host, as in the tutorials. */
  async containers(): Promise<void> {
    const names = [
      ['xbox1', 'xbox2'],
      ['xbox3', 'xbox4'],
    ];
    for (const [index, engine] of this.engines.entries()) {
      const { name: host } = engine.host;
      for (const name of names[index]!) {
        const container = await engine.container(name, 'busybox');
        this.#stage.containers.push(container);
        this.#screen.note(this.#screen.dim(`on ${host}: docker run -itd --name ${name} busybox`));
        this.#screen.note(`${name}  ${container.address}, gateway ${container.gateway}`);
      }
    }
  }

  /** A container with iperf3 on each host. */
  async withIperf(): Promise<[DockerContainer, DockerContainer]> {
    return [
      await this.engines[0]!.container('iperf1', 'iperf3'),
      await this.engines[1]!.container('iperf2', 'iperf3'),
    ];
  }
}

/** What `weft docker-opts` says on a host, as a unit file's $DOCKER_NETWORK_OPTIONS is split. */
async function dockerOptions(host: Host): Promise<string[]> {
  await host.run([
    ...[process.execPath, WEFT, 'docker-opts'],
    ...['-c', '-k', VARIABLE, '-d', OPTIONS_FILE],
  ]);
  const text = host.read(OPTIONS_FILE) ?? '';
  const [, value] = new RegExp(`^${VARIABLE}="(.*)"$`, 'm').exec(text) ?? [];
  if (value === undefined) throw new Unexpected(`${VARIABLE} in ${OPTIONS_FILE}`, text);
  return value.trim().split(/\s+/);
}

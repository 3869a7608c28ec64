/** The steps of the demo, by name: those that build, each needed by the next, and those that try. */
import type { Lab } from '../../lab/lab.js';
import * as checks from './checks.js';
import * as docker from './docker-checks.js';
import { Engines } from './engines.js';
import type { Screen } from './screen.js';
import type { Stage } from './stage.js';

export type Step = readonly [name: string, work: () => Promise<void>];

export interface Steps {
  readonly building: readonly Step[];
  readonly trying: readonly Step[];
}

export function stepsOf(lab: Lab, stage: Stage, screen: Screen, findings: checks.Findings): Steps {
  const { choices } = stage;
  const weft = choices.backend === 'weft';
  const network: Step[] = [
    ['Two hosts on one underlay network', () => stage.underlay()],
    [
      choices.store === 'etcd' ? "etcd, with flannel's configuration" : 'A file as the store',
      () => stage.store(),
    ],
    [weft ? 'weft joins on both hosts' : 'Kernel VXLAN on both hosts', () => stage.overlay()],
  ];
  const ping: Step = [
    'Containers ping each other across the hosts',
    () => checks.ping(stage, screen, findings),
  ];
  const way: Step = ['The way between two containers', () => checks.traceroute(stage, screen)];
  const status: Step[] = weft
    ? [['What weft says of itself', () => checks.status(stage, screen)]]
    : [];
  const throughput = 'Throughput of one TCP connection';

  if (choices.docker) {
    const engines = new Engines(lab, stage, screen);
    return {
      building: [
        ...network,
        ["Docker on both hosts, on weft's subnets", () => engines.start()],
        ['Images without a registry', () => engines.images()],
        ['Two containers on each host', () => engines.containers()],
      ],
      trying: [
        ['What the containers have', () => docker.interfaces(stage, screen)],
        ping,
        way,
        ["A container sees the other's own address", () => docker.ownAddress(stage, screen)],
        ["The world outside sees the host's", () => docker.outside(stage, screen, findings)],
        [throughput, async () => checks.throughput(await engines.withIperf(), screen, findings)],
        ...status,
      ],
    };
  }
  return {
    building: [...network, ['Two containers on each host', () => stage.plugContainers()]],
    trying: [
      ping,
      ['The largest packet', () => checks.largest(stage, screen, findings)],
      way,
      ['A TCP transfer arrives unchanged', () => checks.transfer(stage, screen, findings)],
      [
        throughput,
        () => checks.throughput([stage.containers[0]!, stage.containers[2]!], screen, findings),
      ],
      ...status,
    ],
  };
}

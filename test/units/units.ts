/**
 * The units and drop-ins as they are shipped, under a systemd that is process 1: installed from the
 * Debian package, on fresh Debian machines with Docker, through reboots, with and without etcd.
 *
 * Takes minutes, so it is a program of its own: `npm run test-units`; `-- --only=13` for one release,
 * `-- --brief` for the way from the package by a reboot to the removal.
 * The tests of a release are one story: each goes on where the one before has stopped.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, type TestContext, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { packImage } from '../../src/lab/image.js';
import { Lab } from '../../src/lab/lab.js';
import type { Network } from '../../src/lab/network.js';
import { skipAll } from '../packages/arguments.js';
import { makeRoot, rootLacks } from '../packages/root.js';
import { withoutDocker } from './cni.js';
import { builtPackage, chosenReleases } from './debian.js';
import { inFlanneldsUnit } from './flanneld-unit.js';
import { NEEDS, pause } from './machine.js';
import { mustNotSet } from './must-not.js';
import { CONFIG, DROP_IN, PREFIX, Site, within } from './site.js';

const { releases, brief } = chosenReleases();
// In the lab, which reaches no mirror, it has been asked.
const lacks = Lab.inside()
  ? undefined
  : (rootLacks() ?? labLacks({ programs: [...NEEDS, 'etcd', 'busybox'], tun: true }));
if (lacks !== undefined) skipAll('test-units', lacks);
if (!Lab.inside()) {
  // Made out here, where the registry can be reached.
  for (const { name, packages } of releases) makeRoot(name, packages);
  process.exit(await enterLab(undefined, { docker: true }));
}

/** Half a minute that Docker waits for a weft that waits, and what a boot takes besides. */
const PATIENCE = { least: 29_000, most: 45_000 };

describe('the units', { concurrency: releases.length }, () => {
  let lab: Lab;
  let network: Network;
  let image: string;
  before(async () => {
    lab = await Lab.open();
    network = await lab.network();
    image = await packImage(lab.directory('image'), { programs: ['busybox', 'etcd'] });
  });
  after(() => lab?.close());

  for (const { number, name, packages } of releases) {
    describe(`on Debian ${number}`, { timeout: 600_000, concurrency: 1 }, () => {
      let site: Site;
      before(async () => {
        site = await Site.make(lab, network, number, makeRoot(name, packages));
        await site.machine.boot();
        await site.booted();
        await site.machine.bring(builtPackage(), 'weft.deb');
        await site.machine.bring(image, 'image.tar');
      });
      after(() => site?.machine.close());
      const sh = (line: string) => site.machine.sh(line);
      /** What is left out when it is to be brief. */
      const more = brief ? () => {} : test;

      test('installed, and Docker put behind it: nothing is to be done but what the README says', async () => {
        await sh('dpkg -i /root/weft.deb');
        assert.equal(await site.property('weft', 'ActiveState'), 'inactive');
        await site.flags();
        await site.machine.write('/etc/default/docker', 'DOCKER_OPTS="--log-level=warn"\n');
        await sh(`mkdir -p ${DROP_IN.replace(/\/[^/]*$/, '')}`);
        await sh(`cp /usr/share/weft/docker.service.d/weft.conf ${DROP_IN}`);
        await sh(
          'systemctl daemon-reload && systemctl enable --now weft && systemctl restart docker',
        );
        await site.weftIsWell();
        assert.match(await site.property('weft', 'StatusText'), /^flannel\.1 10\.10\.\d+\.0\/24/);
        assert.doesNotMatch(
          await site.journal('weft'),
          /modprobe|FATAL|systemd.*(?:unknown|fail)/i,
        );
        await site.dockerIsOnTheSubnet();
        // The host's own options are there as well.
        const dockerd = await sh('tr "\\0" " " <"/proc/$(cat /run/docker.pid)/cmdline"');
        assert.match(dockerd, /--log-level=warn .*--bip=/);
      });

      test('a container talks with one of a kernel peer, both ways', async () => {
        await sh(`docker import -c 'CMD ["sleep","100000"]' /root/image.tar image`);
        await sh('docker run -d --name box --restart always --stop-signal KILL image');
        await site.answers(await site.box('box'));
        await sh(`docker exec box ping -c 1 -W 2 ${site.far}`);
        assert.match(await sh('docker exec box ip link show eth0'), / mtu 1450 /);
      });

      more('systemd-analyze security: an exposure of at most 3', async (t: TestContext) => {
        const told = await sh('systemd-analyze security weft.service --no-pager | tail -n 1');
        t.diagnostic(told);
        assert.ok(Number(/: ([\d.]+) /.exec(told)?.[1]) <= 3, told);
      });

      more('reload: the same process looks anew', async () => {
        const before = await site.property('weft', 'MainPID');
        await sh('systemctl reload weft');
        await within(5_000, 'it says so', async () =>
          /^reloading: /m.test(await site.journal('weft')),
        );
        assert.equal(await site.property('weft', 'MainPID'), before);
        await site.weftIsWell();
      });

      test('killed: started again, and packets flow', async () => {
        await sh('kill -KILL "$(systemctl show weft -p MainPID --value)"');
        await within(10_000, 'it is up again', async () => {
          const restarts = await site.property('weft', 'NRestarts');
          return restarts === '1' && (await site.property('weft', 'ActiveState')) === 'active';
        });
        await site.answers(await site.box('box'));
      });

      more('a wrong flag: an error in the journal, and no second start', async () => {
        await site.flags('-no-such-flag');
        await sh('systemctl reset-failed weft; systemctl restart weft || true');
        await pause(2_500);
        assert.equal(await site.property('weft', 'ActiveState'), 'failed');
        assert.equal(await site.property('weft', 'ExecMainStatus'), '2');
        assert.equal(await site.property('weft', 'NRestarts'), '0');
        const errors = await sh('journalctl -b -u weft -p 3 -o cat --no-pager _COMM=node');
        assert.match(errors, /unknown flag -no-such-flag/);
        await site.flags();
        await sh('systemctl start weft');
        assert.equal(await site.property('weft', 'ActiveState'), 'active');
        const information = await sh('journalctl -b -u weft -p 6..6 -o cat --no-pager');
        assert.match(information, /^ready: flannel\.1/m);
      });

      more('weft in the unit that flanneld had: upgraded, removed, and flanneld back in it', () =>
        inFlanneldsUnit(site),
      );

      test('a reboot: all is there again, the container too', async () => {
        const before = await site.subnet();
        await site.machine.reboot();
        await site.booted();
        assert.equal(await site.subnet(), before);
        await site.weftIsWell();
        await site.dockerIsOnTheSubnet();
        await site.answers(await site.box('box'));
      });

      more(
        'etcd away at boot: Docker waits half a minute, then takes the last subnet',
        async (t) => {
          const before = await site.subnet();
          await site.etcd.process.stop();
          await site.machine.reboot();
          const took = await site.booted();
          t.diagnostic(`booted in ${took} ms`);
          assert.ok(took > PATIENCE.least && took < PATIENCE.most, `${took} ms`);
          assert.equal(await site.property('weft', 'ActiveState'), 'activating');
          assert.equal(await site.bridge('docker0'), before);
          assert.match(
            await sh('journalctl -b -u weft -p 4 -o cat --no-pager'),
            /etcd does not answer/,
          );
          // Docker can be started anew meanwhile, and waits for nothing.
          const began = Date.now();
          await sh('systemctl restart docker');
          assert.ok(Date.now() - began < 15_000);
          await site.etcd.launch();
          await within(15_000, 'weft is up', async () => {
            return (await site.property('weft', 'ActiveState')) === 'active';
          });
          await site.weftIsWell();
          await site.dockerIsOnTheSubnet();
          await site.answers(await site.box('box'));
        },
      );

      more('Docker as its own packages lay it out: the same drop-in', async () => {
        await sh('systemctl stop docker.socket docker && mv /usr/sbin/dockerd /usr/bin/dockerd');
        const unit = '/usr/lib/systemd/system/docker.service';
        await sh(
          `sed -i '/^EnvironmentFile=/d; s|/usr/sbin/dockerd|/usr/bin/dockerd|; s| .DOCKER_OPTS||' ${unit}`,
        );
        assert.match(await sh(`cat ${unit}`), /^ExecStart=\/usr\/bin\/dockerd -H fd:\/\/ \S+$/m);
        await site.machine.reboot();
        await site.booted();
        const dockerd = await sh('readlink "/proc/$(cat /run/docker.pid)/exe"');
        assert.equal(dockerd, '/usr/bin/dockerd');
        await site.dockerIsOnTheSubnet();
        await site.answers(await site.box('box'));
      });

      more(
        'etcd in a container of this Docker: no deadlock, the first time or later',
        async (t) => {
          const endpoint = `http://${site.address}:2379`;
          await sh(
            'docker run -d --name etcd --network host --restart always --stop-signal KILL -v /var/lib/etcd:/data image ' +
              `etcd --data-dir /data --listen-client-urls ${endpoint} --advertise-client-urls ${endpoint}`,
          );
          await within(10_000, 'etcd answers', () => put(endpoint, `${PREFIX}/config`, CONFIG));
          await site.flags(`-etcd-endpoints=${endpoint}`);
          await sh('rm /var/lib/weft/docker');
          for (const time of ['first', 'second']) {
            await site.machine.reboot();
            const took = await site.booted();
            t.diagnostic(`the ${time} boot took ${took} ms`);
            assert.ok(took < PATIENCE.most, `${took} ms`);
            await within(20_000, 'weft is up', async () => {
              return (await site.property('weft', 'ActiveState')) === 'active';
            });
            await site.weftIsWell();
            // Nobody knew the subnet the first time.
            if (time === 'first') await sh('systemctl restart docker');
            await site.dockerIsOnTheSubnet();
          }
          await sh('docker rm -f etcd');
        },
      );

      more('CNI in Docker’s place: a bridge as subnet.env says, after a reboot as well', () =>
        withoutDocker(site),
      );

      if (!brief) mustNotSet(() => site);

      test('purged: nothing of it runs or is left', async () => {
        await sh('dpkg -P weft');
        assert.equal(await site.property('weft', 'LoadState'), 'not-found');
        const left = await sh(
          'ls -d /run/weft /var/lib/weft /etc/default/weft /run/flannel/subnet.env 2>/dev/null || true; ip -br link show type tun',
        );
        assert.equal(left, '');
        await site.machine.shutDown();
      });
    });
  }
});

async function put(endpoint: string, key: string, value: string): Promise<boolean> {
  const encode = (text: string) => Buffer.from(text).toString('base64');
  const body = JSON.stringify({ key: encode(key), value: encode(value) });
  try {
    return (await fetch(`${endpoint}/v3/kv/put`, { method: 'POST', body })).ok;
  } catch {
    return false;
  }
}

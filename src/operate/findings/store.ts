/** How it stands with the store, and with what weft shows to it. Packets flow in any case. */
import { duration } from '../status/format.js';
import type { AnyStatus } from './check.js';
import { etcdOf, type StoreAt } from './etcdctl.js';
import type { Finding } from './finding.js';

/** A connection that is made anew takes a moment. */
const AWAY_SECONDS = 2;
/** Others forget this host when its lease ends. */
const SOON_SECONDS = 900;
const SLOW_MS = 1_000;
const CERTIFICATE_SECONDS = 14 * 24 * 3600;

export function judgeStore(status: AnyStatus): Finding[] {
  const { storeState, store, lease } = status;
  const { awaySeconds, reason, answerMs, alarm } = storeState;
  const etcdctl = etcdOf(status)?.command ?? '';
  if (awaySeconds !== null) {
    if (awaySeconds < AWAY_SECONDS) return [];
    const { expiresInSeconds: left } = lease;
    const ends = left !== null && left < SOON_SECONDS;
    const what = ends
      ? `our lease ends in ${duration(left)}, and then the other hosts forget this one`
      : 'peers that come, go or move are not seen, all others are reached as before';
    return [
      {
        code: 'store-away',
        severity: ends ? 'error' : 'warning',
        scope: 'store',
        about: 'store',
        text: `${store} does not answer${reason === null ? '' : ` (${reason})`}: ${what}`,
        cure: etcdctl === '' ? '' : `${etcdctl} endpoint health`,
      },
    ];
  }
  const found: Finding[] = [];
  if (answerMs !== null && answerMs >= SLOW_MS) {
    found.push({
      code: 'store-slow',
      severity: 'warning',
      scope: 'store',
      about: 'store',
      text:
        `${store} took ${(answerMs / 1000).toFixed(1)} s to answer: what other hosts change is known ` +
        'here as much later',
      cure: etcdctl === '' ? '' : `${etcdctl} endpoint status -w table`,
    });
  }
  return [...found, ...judgeAlarms(alarm, status)];
}

/** `alarm` is as status has it. */
export function judgeAlarms(alarm: string | null, at: StoreAt): Finding[] {
  const etcdctl = etcdOf(at)?.command ?? '';
  return alarm === null ? [] : alarm.split(', ').map((name) => judgeAlarm(name, etcdctl));
}

function judgeAlarm(name: string, etcdctl: string): Finding {
  const isCorrupt = name === 'CORRUPT';
  const why = isCorrupt ? "its members' data differ" : 'its database is as large as it may be';
  const revision = `$(${etcdctl} endpoint status -w json | sed 's/.*"revision":\\([0-9]*\\).*/\\1/')`;
  return {
    code: 'etcd-alarm',
    severity: 'warning',
    scope: 'store',
    about: `alarm ${name}`,
    text:
      `etcd has raised the alarm ${name} (${why}) and takes no writes: no host gets a new lease ` +
      'or renews its own until it is disarmed',
    cure: isCorrupt
      ? `${etcdctl} endpoint hashkv -w table   (remove the member that differs and add it anew, ` +
        'then: alarm disarm)'
      : `${etcdctl} compact ${revision}; ${etcdctl} defrag && ${etcdctl} alarm disarm`,
  };
}

export function judgeCertificates({
  storeState,
}: {
  readonly storeState: Pick<AnyStatus['storeState'], 'certificates'>;
}): Finding[] {
  return storeState.certificates.flatMap(({ name, beginsInSeconds, endsInSeconds }): Finding[] => {
    const of = { code: 'tls-expiry', scope: 'store', about: name } as const;
    const lost = 'no new connection to etcd can be made';
    if (beginsInSeconds > 0) {
      return [
        {
          ...{ ...of, severity: 'error' },
          text: `${name} is valid only from ${duration(beginsInSeconds)} on by this host's clock: ${lost}`,
          cure: 'set the clock (timedatectl), or have the certificate issued anew',
        },
      ];
    }
    if (endsInSeconds > CERTIFICATE_SECONDS) return [];
    const isOver = endsInSeconds <= 0;
    return [
      {
        ...{ ...of, severity: isOver ? 'error' : 'warning' },
        text: isOver
          ? `${name} has ended ${duration(-endsInSeconds)} ago by this host's clock: ${lost}`
          : `${name} ends in ${days(endsInSeconds)}, and from then on ${lost}`,
        cure: 'have it issued anew, and put it in its place: it is taken at the next connection',
      },
    ];
  });
}

function days(seconds: number): string {
  const n = Math.floor(seconds / 86_400);
  return n < 1 ? duration(seconds) : `${n} day${n === 1 ? '' : 's'}`;
}

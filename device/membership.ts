/** From settings to all that a member needs, on this machine: its identity, TCP, the system's clock and randomness. */

import { hostname } from 'node:os'
import { fromHex } from '#shared/bytes.js'
import { systemClock } from '#shared/clock.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { newIdentity } from '#shared/crypto/identity.js'
import { openMember, type MemberFile } from '#shared/crypto/member-file.js'
import { newDeviceId } from '#shared/ids.js'
import { systemRandom, type Random } from '#shared/random.js'
import type { ClientConfig } from './config.js'
import { dialTcp } from './link/dial.js'
import { tcpTransport } from './link/transport.js'
import type { MemberOptions } from './member.js'

const defaultPort = 1883

/** Whatever is in `parts` takes the place of what the settings say. Throws what `openMember` throws. */
export async function membership(
  settings: ClientConfig,
  parts: Partial<MemberOptions>,
): Promise<Omit<MemberOptions, 'role'>> {
  const { hub, hubKey, fleet, state, name, link, listen, wait } = settings
  const { hostname: bracketed, port } = new URL(hub)
  const host = bracketed.replace(/^\[|\]$/g, '')
  const { random = systemRandom } = parts
  const isGiven = parts.id !== undefined && parts.identity !== undefined
  const { release, ...who } = await identityOf(isGiven ? undefined : state, random)
  return {
    fleet,
    ...who,
    name: name ?? (hostname().slice(0, 64) || 'unnamed'),
    clock: systemClock,
    random,
    aeads: nodeAeads,
    link,
    hub: `${bracketed}:${port || defaultPort}`,
    dialHub: dialTcp({ host, port: Number(port || defaultPort) }),
    // A relay that names no host is on the hub's.
    dialRelay: (relay) => dialTcp({ host: relay.host === '' ? host : relay.host, port: relay.port })(),
    transport: tcpTransport(listen.host, listen.port),
    ...(hubKey === undefined ? {} : { hubKey: fromHex(hubKey) }),
    failWithoutHub: !wait,
    log: () => {},
    ...parts,
    async onClosed() {
      await release()
      await parts.onClosed?.()
    },
  }
}

async function identityOf(state: string | undefined, random: Random): Promise<MemberFile> {
  if (state !== undefined) return openMember(state, random)
  return { id: newDeviceId(random), identity: newIdentity(random), release: () => Promise.resolve() }
}

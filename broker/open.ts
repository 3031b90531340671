/**
 * `tessera-edge/hub`: a hub in a program of one's own; `tessera-hub` is one.
 *
 *     const { hub, uri, fleet } = await openHub({ state: './hub' })
 *     await hub.until(() => hub.online().length >= 2, 60_000, 'that two devices are online')
 *     await hub.deploy({ name: 'digits', model, stages: 2 })
 *     await hub.ready(60_000)
 */

import type { z } from 'zod'
import { systemClock } from '#shared/clock.js'
import { checkSettings } from '#shared/config.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { newIdentity } from '#shared/crypto/identity.js'
import { openMember } from '#shared/crypto/member-file.js'
import { fleetOf, newDeviceId } from '#shared/ids.js'
import { Refusal } from '#shared/errors.js'
import type { Log } from '#shared/log.js'
import { systemRandom } from '#shared/random.js'
import { hubSettings } from './config.js'
import { ProfileStore, readProfiles } from './fleet/profiles.js'
import { nextEpoch } from './keys/epoch-file.js'
import { noProfiles, profiles, type Profiles } from './planner/profile.js'
import { startHub, type RunningHub, type StartOptions } from './start.js'

export type { DeployRequest, Deployment } from './deployments.js'
export { Hub } from './hub.js'
export type { Member } from './fleet/registry.js'
export type { RunningHub, StartOptions } from './start.js'
export { Refusal, type RefusalCode } from '#shared/errors.js'

export type HubSettings = z.input<typeof hubSettings>

/**
 * Opens a hub: its brokers on TCP, its identity from the folder `state`, or a new one where that is not given. `parts`
 * replaces what it is made of: clock, randomness, ciphers, log. Throws `Refusal`: `bad-config`, `folder-in-use`,
 * `port-in-use`.
 */
export async function openHub(settings: HubSettings = {}, parts: Partial<StartOptions> = {}): Promise<RunningHub> {
  const { state, fleet, listen } = checkSettings(settings, hubSettings)
  const { random = systemRandom, clock = systemClock, log = () => {} } = parts
  const { id, identity, release } =
    state === undefined
      ? { id: newDeviceId(random), identity: newIdentity(random), release: () => Promise.resolve() }
      : await openMember(state, random)
  try {
    const epoch = state === undefined ? 1 : await nextEpoch(state)
    const running = await startHub({
      fleet: fleet ?? fleetOf((parts.identity ?? identity).publicKey),
      id,
      identity,
      epoch,
      ...listen,
      clock,
      random,
      aeads: nodeAeads,
      log,
      profiles: new ProfileStore({
        value: await knownProfiles(state, log),
        clock,
        ...(state === undefined ? {} : { folder: state }),
        onFailure: (reason) => log('profiles not kept', { reason: reason.message }),
      }),
      ...parts,
    })
    const close = async (): Promise<void> => {
      await running.close()
      await release()
    }
    return { ...running, close }
  } catch (error) {
    await release()
    throw error
  }
}

/** What the folder holds; a file that is none is replaced, as all in it can be measured again. */
async function knownProfiles(folder: string | undefined, log: Log): Promise<Profiles> {
  if (folder === undefined) return noProfiles
  try {
    return (await readProfiles(folder, profiles)) ?? noProfiles
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    log('profiles not read', { reason: error.message })
    return noProfiles
  }
}

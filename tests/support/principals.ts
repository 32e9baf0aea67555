import type { Principal } from '../../application/ports/authenticator.js';
import { aPattern } from './builders.js';

interface Granted {
  readonly id?: string;
  readonly publish?: readonly string[];
  readonly subscribe?: readonly string[];
}

/** Somebody who may publish and subscribe everywhere, unless said otherwise. */
export const aPrincipal = ({
  id = 'jwt:alice',
  publish = ['>'],
  subscribe = ['>'],
}: Granted = {}): Principal => ({
  id,
  grants: { publish: publish.map(aPattern), subscribe: subscribe.map(aPattern), manage: [] },
});

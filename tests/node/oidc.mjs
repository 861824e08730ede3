// A certified OpenID provider on 127.0.0.1 for tests/test_external.py: one issuer for each way a client can prove itself,
// each signing with another algorithm. Prints its issuers as one line of JSON and ends when its standard input does.
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const CALLBACK = 'https://community.test/callback';
const FLAVOURS = {
  basic: { auth: 'client_secret_basic', alg: 'RS256', key: ['rsa', { modulusLength: 2048 }] },
  post: { auth: 'client_secret_post', alg: 'ES256', key: ['ec', { namedCurve: 'P-256' }] },
  public: { auth: 'none', alg: 'EdDSA', key: ['ed25519'] },
  pss: { auth: 'client_secret_basic', alg: 'PS256', key: ['rsa', { modulusLength: 2048 }] },
};

function account(_, sub) {
  return {
    accountId: sub,
    claims: () => ({ sub, name: `Person ${sub}`, email: `${sub}@example.org`, email_verified: sub !== 'unverified' }),
  };
}

function configuration({ auth, alg, key: [type, options] }) {
  const { privateKey } = generateKeyPairSync(type, options);
  const client = {
    client_id: 'onesocket',
    redirect_uris: [CALLBACK],
    token_endpoint_auth_method: auth,
    id_token_signed_response_alg: alg,
  };
  if (auth !== 'none') client.client_secret = 'a secret: with/odd+characters&';
  return {
    clients: [client],
    clientAuthMethods: [auth],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: `${alg}-1`, alg, use: 'sig' }] },
    cookies: { keys: ['test'] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    findAccount: account,
    pkce: { required: () => true },
    features: { devInteractions: { enabled: true } },
    ttl: { AccessToken: 60, AuthorizationCode: 60, Grant: 600, IdToken: 60, Interaction: 600, Session: 600 },
  };
}

// The provider tells on the console what a production set-up would change: this is not one, and stdout is for the issuers.
console.info = console.warn = () => {};

const issuers = {};
for (const [name, flavour] of Object.entries(FLAVOURS)) {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  issuers[name] = `http://127.0.0.1:${server.address().port}`;
  server.on('request', new Provider(issuers[name], configuration(flavour)).callback());
}
process.stdin.resume().on('end', () => process.exit(0));
process.stdout.write(`${JSON.stringify(issuers)}\n`);

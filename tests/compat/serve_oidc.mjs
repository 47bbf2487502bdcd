// An authorization server: oidc-provider, which gives JWT access tokens for one resource. Reads its settings as JSON
// from its argument, and prints a line once it listens.
import { generateKeyPair, exportJWK } from "jose";
import Provider from "oidc-provider";

const { port, resource, key_id, algorithm, clients } = JSON.parse(process.argv[2]);
const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
const key = { ...(await exportJWK(privateKey)), kid: key_id, alg: algorithm, use: "sig" };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: clients.map(({ id, secret, scope }) => ({
    client_id: id,
    client_secret: secret,
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
    scope,
    id_token_signed_response_alg: algorithm,
  })),
  clientDefaults: { id_token_signed_response_alg: algorithm },
  enabledJWA: { idTokenSigningAlgValues: [algorithm] },
  jwks: { keys: [key] },
  scopes: ["read", "spend", "admin"],
  cookies: { keys: ["a key of this test"] },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  features: {
    clientCredentials: { enabled: true },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, audience) => ({
        scope: "read spend admin",
        audience,
        accessTokenFormat: "jwt",
        accessTokenTTL: 600,
        jwt: { sign: { alg: algorithm } },
      }),
    },
  },
});
provider.listen(port, "127.0.0.1", () => console.log(JSON.stringify({ listens: true })));

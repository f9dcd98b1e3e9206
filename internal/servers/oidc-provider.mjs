// An OpenID provider for tests: oidc-provider with one client. Whoever logs in is who he says.
// Its arguments are its address, the client's id, secret and redirect URI.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [address, client_id, client_secret, redirect_uri, tools] = process.argv.slice(2);
const program = createRequire(tools + "/package.json").resolve("oidc-provider");
const { default: Provider } = await import(pathToFileURL(program));

const provider = new Provider("http://" + address, {
  clients: [{ client_id, client_secret, redirect_uris: [redirect_uri] }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["groups"] },
  pkce: { required: () => true },
  ttl: { Session: 60, Grant: 60, Interaction: 60, IdToken: 60, AccessToken: 60 },
  cookies: { keys: ["test"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: id + "@example.com", email_verified: id !== "eve", groups: ["dev", "ops"] }),
  }),
});

const [host, port] = address.split(":");
provider.listen(Number(port), host);

// The proxy of sandbox-runtime as its own users have it, once with TLS ended in it and once not, until standard input ends.
// It lets everything through and verifies no upstream, which costs it less than the gate does.
//   srt.mjs PACKAGE FOLDER
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const [dist, folder] = [join(process.argv[2], "dist", "sandbox"), process.argv[3]];
const { createHttpProxyServer } = await import(join(dist, "http-proxy.js"));
const { createMitmCA } = await import(join(dist, "mitm-ca.js"));
const mitmCA = createMitmCA({});
writeFileSync(join(folder, "srt.pem"), mitmCA.certPem);
const ports = [];
for (const ended of [true, false]) {
  const server = createHttpProxyServer({ filter: () => true, ...(ended ? { mitmCA, filterRequest: () => ({ action: "allow" }) } : {}) });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  ports.push(server.address().port);
}
console.log(ports.join(" "));
process.stdin.resume().on("end", () => process.exit(0));

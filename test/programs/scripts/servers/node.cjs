// http, https and http2 of Node against themselves. Arguments: a key and a certificate.
const fs = require('node:fs');
const http = require('node:http');
const http2 = require('node:http2');
const https = require('node:https');

const [keyFile, certFile] = process.argv.slice(2);
const tls = { key: fs.readFileSync(keyFile), cert: fs.readFileSync(certFile) };
const large = Buffer.alloc(3 << 20, 'x');

function answer(request, response) {
  let bytes = 0;
  request.on('data', (chunk) => {
    bytes += chunk.length;
  });
  request.on('end', () => response.end(request.url === '/large' ? large : `got ${bytes}`));
}

function listen(server) {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
}

/** The text of an answer, or the size of a long one. */
function ask(protocol, options, body) {
  return new Promise((resolve, reject) => {
    const request = protocol.request({ host: '127.0.0.1', ...options }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => {
        const all = Buffer.concat(chunks);
        resolve(all.length < 100 ? all.toString() : all.length);
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

function askStream(session, path) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': path });
    let bytes = 0;
    stream.on('data', (chunk) => {
      bytes += chunk.length;
    });
    stream.on('end', () => resolve(bytes));
    stream.on('error', reject);
  });
}

async function main() {
  const plain = http.createServer(answer);
  const port = await listen(plain);
  console.log('http', await ask(http, { port, method: 'POST' }, Buffer.alloc(2e6)), await ask(http, { port, path: '/large' }));
  const agent = new http.Agent({ keepAlive: true, maxSockets: 50 });
  const many = Array.from({ length: 1000 }, (_, i) => ask(http, { port, agent, method: 'POST' }, 'x'.repeat(i)));
  console.log('many', (await Promise.all(many)).every((text, i) => text === `got ${i}`));
  agent.destroy();
  plain.close();

  const secure = https.createServer(tls, answer);
  console.log('https', await ask(https, { port: await listen(secure), rejectUnauthorized: false, path: '/large' }));
  secure.close();

  const streams = http2.createSecureServer(tls);
  streams.on('stream', (stream, headers) => {
    stream.respond({ ':status': 200 });
    stream.end(headers[':path'] === '/large' ? large : 'small');
  });
  const session = http2.connect(`https://127.0.0.1:${await listen(streams)}`, { rejectUnauthorized: false });
  const sizes = await Promise.all(Array.from({ length: 40 }, (_, i) => askStream(session, i % 20 === 0 ? '/large' : '/')));
  console.log('http2', sizes.reduce((sum, n) => sum + n));
  session.close();
  streams.close();
}

main();

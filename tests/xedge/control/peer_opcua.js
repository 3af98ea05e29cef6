// An OPC UA client by other authors: reads the image, writes the commands, prints what it saw.
// node peer_opcua.js URL CERTIFICATE.pem KEY.pem FOLDER USER PASSWORD COMMAND_WORDS
const {
  AttributeIds, DataType, MessageSecurityMode, OPCUACertificateManager, OPCUAClient,
  SecurityPolicy, UserTokenType, VariantArrayType,
} = require("node-opcua");

const [url, certificateFile, privateKeyFile, rootFolder, userName, password, words] =
  process.argv.slice(2);

async function main() {
  const clientCertificateManager = new OPCUACertificateManager({
    rootFolder, automaticallyAcceptUnknownCertificate: true,
  });
  const client = OPCUAClient.create({
    applicationUri: "urn:test:plc",
    securityMode: MessageSecurityMode.SignAndEncrypt,
    securityPolicy: SecurityPolicy.Basic256Sha256,
    certificateFile, privateKeyFile, clientCertificateManager,
    endpointMustExist: false,
    connectionStrategy: { maxRetry: 0 },
  });
  await client.connect(url);
  const session = await client.createSession({
    type: UserTokenType.UserName, userName, password,
  });
  const names = await session.readNamespaceArray();
  const ns = names.indexOf("urn:xedge:control");
  const image = await session.read({
    nodeId: `ns=${ns};s=Image`, attributeId: AttributeIds.Value,
  });
  const state = await session.read({
    nodeId: `ns=${ns};s=State`, attributeId: AttributeIds.Value,
  });
  const write = (name, value) => session.write({
    nodeId: `ns=${ns};s=${name}`, attributeId: AttributeIds.Value,
    value: { value: {
      dataType: DataType.UInt16, arrayType: VariantArrayType.Array,
      value: new Uint16Array(value),
    } },
  });
  const taken = await write("Commands", JSON.parse(words));
  const refused = await write("Image", new Array(97).fill(0));
  console.log(JSON.stringify({
    image: Array.from(image.value.value), state: state.value.value,
    taken: taken.name, refused: refused.name,
  }));
  await session.close();
  await client.disconnect();
}

main().catch((error) => { console.error(error.message); process.exit(1); });

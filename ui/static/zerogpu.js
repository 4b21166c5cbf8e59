// On ZeroGPU a visitor's own GPU quota is known by headers that only the page around a Space can give.

const PATIENCE = 2000; // ms; without them the Space's own quota is used

/** The headers for a request that may need a GPU; none where there is nobody to ask. */
export async function quotaHeaders() {
  const host = location.hostname;
  const around = host.includes(".dev.") ? `https://moon-${host.split(".")[1]}.dev.spaces.huggingface.tech` : host.endsWith(".hf.space") ? "https://huggingface.co" : "";
  // Gradio's own client has asked the page around us at the start whether it knows of this.
  if (!around || window.parent === window || !window.supports_zerogpu_headers) return {};
  const answer = new Promise((tell) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = ({ data }) => {
      channel.port1.close();
      tell(data ?? {});
    };
    window.parent.postMessage("zerogpu-headers", around, [channel.port2]);
  });
  const late = new Promise((tell) => setTimeout(() => tell({}), PATIENCE));
  return Promise.race([answer, late]);
}

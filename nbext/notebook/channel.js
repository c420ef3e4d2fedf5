// The panels' own channel to the kernel; see channel.py. This file is put before panel.js.

const CHANNEL = "nbext.panel";
const LONGEST_START = 2000; // ms; a kernel without subshells never says that one has started

/** Return what sends messages to the panel of a model, on the channel once there is one.
 *
 * There is one for each kernel and page. It is never closed: JupyterLab would end the subshell with the last one, and
 * ipykernel then drops the messages about every widget of which it last heard there.
 */
export function sender(model) {
  let channel = null;
  connect(model.widget_manager?.kernel).then((opened) => {
    channel = opened;
  });
  return (message) => {
    if (channel && !channel.isDisposed) channel.send({ panel: model.get("address"), message });
    else model.send(message);
  };
}

async function connect(kernel) {
  if (!kernel?.createComm) return null; // a front end that lets no script open a comm
  globalThis[Symbol.for(CHANNEL)] ??= new WeakMap();
  const known = globalThis[Symbol.for(CHANNEL)];
  if (!known.has(kernel) || (await known.get(kernel))?.isDisposed) known.set(kernel, open(kernel));
  return known.get(kernel);
}

async function open(kernel) {
  try {
    const comm = kernel.createComm(CHANNEL);
    await Promise.race([comm.subshellStarted, new Promise((go) => setTimeout(go, LONGEST_START))]);
    comm.open();
    return comm;
  } catch {
    return null; // comms are for another connection, or the subshell could not be started
  }
}


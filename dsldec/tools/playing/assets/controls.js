// The controls of a policy's parameters. The server says which ones; see `policy_controls.py`.

"use strict";

const dsldecControls = (() => {
  function made(name, fields = {}, ...children) {
    const element = document.createElement(name);
    const { data, ...others } = fields;
    Object.assign(element, others);
    Object.assign(element.dataset, data ?? {});
    element.append(...children);
    return element;
  }

  /**
   * The controls in `parent`. `changed(delayed)`: called with a change; `delayed` while somebody types. Values
   * that the user has set stay, as long as the policy has a parameter of that name and kind.
   */
  function create(parent, changed) {
    let shown = "";
    let list = [];
    const set = new Map(); // by name and kind: the value that the user gave

    const keyOf = (one) => `${one.name}: ${one.kind}`;
    const valueOf = (one) => (set.has(keyOf(one)) ? set.get(keyOf(one)) : one.value);

    function take(one, value, delayed) {
      set.set(keyOf(one), value);
      changed(delayed);
    }

    function show(controls) {
      list = controls;
      const text = JSON.stringify(controls);
      if (text === shown) return;
      shown = text;
      const focused = document.activeElement?.id;
      parent.replaceChildren(...controls.map(control));
      if (!controls.length) parent.append(made("p", { className: "hint" }, "This policy has no parameters."));
      if (focused) document.getElementById(focused)?.focus();
    }

    function control(one) {
      const id = `value-${one.name}`;
      const values = made("div", { className: "values" });
      const box = made("div", { className: "control" }, made("label", { htmlFor: id }, one.name), values);
      values.append(...inputs(one, id));
      const hint = hintOf(one);
      if (hint) box.append(made("p", { className: "hint" }, hint));
      return box;
    }

    function hintOf(one) {
      if (one.control === "none") return "A network is a file: use `dsldec run --set` on the command line.";
      const range = one.least === null || one.least === undefined ? "" : ` in ${one.least}..${one.most}`;
      return `${one.kind}${range}${one.static ? ", static: a change makes another step" : ""}`;
    }

    function inputs(one, id) {
      const value = valueOf(one);
      switch (one.control) {
        case "none":
          return [made("input", { id, type: "text", disabled: true })];
        case "select": {
          const select = made("select", { id });
          for (const name of one.choices) select.append(made("option", { value: name, selected: name === value }, name));
          select.onchange = () => take(one, select.value, false);
          return [select];
        }
        case "checkbox": {
          const input = made("input", { id, type: "checkbox", checked: Boolean(value) });
          input.onchange = () => take(one, input.checked, false);
          return [input];
        }
        case "text": {
          const input = made("input", { id, type: "text", value: String(value), spellcheck: false });
          input.oninput = () => take(one, input.value, true);
          return [input];
        }
        default:
          return one.static ? [numberField(one, id, value)] : slider(one, id, value);
      }
    }

    function numberField(one, id, value) {
      const whole = one.kind === "int" || one.kind === "token";
      const input = made("input", { id, type: "number", step: whole ? "1" : "any", value });
      if (one.least !== null) Object.assign(input, { min: one.least, max: one.most });
      input.oninput = () => {
        if (input.value !== "" && Number.isFinite(input.valueAsNumber)) take(one, input.valueAsNumber, true);
      };
      return input;
    }

    function slider(one, id, value) {
      const range = made("input", { id, type: "range", min: one.from, max: one.to, step: one.step, value });
      const number = numberField(one, `${id}-number`, value);
      number.setAttribute("aria-label", `${one.name}, as a number`);
      range.oninput = () => {
        number.value = range.value;
        take(one, range.valueAsNumber, false);
      };
      const typed = number.oninput;
      number.oninput = (event) => {
        range.value = number.value;
        typed(event);
      };
      return [range, number];
    }

    return {
      show,
      /** The values that differ from the defaults. A value of another policy is left out. */
      values: () =>
        Object.fromEntries(
          list.filter((one) => one.control !== "none" && set.has(keyOf(one)) && set.get(keyOf(one)) !== one.value)
            .map((one) => [one.name, set.get(keyOf(one))]),
        ),
      /** Set values by name, once the controls of the policy are known. */
      give(values) {
        set.clear();
        for (const one of list) {
          if (Object.hasOwn(values, one.name)) set.set(keyOf(one), values[one.name]);
        }
        shown = "";
        show(list);
      },
    };
  }

  return { create, made };
})();

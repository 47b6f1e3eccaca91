// Room: what is held for somebody and has to be paid for, or is given back.

export class Till {
  constructor(page) {
    this.page = page;
  }

  async pay(rush) {
    const { page } = this;
    rush.pay = { said: "pay_wait" };
    page.render();
    const told = await page.order(`/holds/${rush.grant.id}/pay`);
    if (!told) rush.pay = { said: "pay_failed" };
    else if (told.pay) {
      const { payload } = told.pay;
      rush.pay = /^https?:\/\//.test(payload) ? { url: payload } : { code: payload };
    }
    page.render();
  }

  async giveBack(rush) {
    const { page } = this;
    if ((await page.order(`/holds/${rush.grant.id}`, "DELETE")) === null) return;
    this.letGo(rush);
    page.hintAt("given_back");
  }

  // It is held no longer, as far as is known here; asking again tells.
  letGo(rush) {
    this.page.person.drop(rush.grant.id);
    rush.grant = null;
    rush.screen = "ready";
    this.page.render();
  }
}

// Intrusive doubly linked list: the element is the node, so that queueing allocates nothing.
// Draw of one list:  head ⇄ a ⇄ b ⇄ tail, with null at both ends; an element is in at most one List.

export interface ListNode<T> {
  listPrev: T | null;
  listNext: T | null;
  /** The List it is in. */
  list: object | null;
}

export class List<T extends ListNode<T>> {
  head: T | null = null;
  tail: T | null = null;
  length = 0;

  push(node: T): void {
    node.list = this;
    node.listPrev = this.tail;
    node.listNext = null;
    if (this.tail === null) this.head = node;
    else this.tail.listNext = node;
    this.tail = node;
    this.length++;
  }

  remove(node: T): void {
    if (node.list !== this) return;
    if (node.listPrev === null) this.head = node.listNext;
    else node.listPrev.listNext = node.listNext;
    if (node.listNext === null) this.tail = node.listPrev;
    else node.listNext.listPrev = node.listPrev;
    node.list = null;
    node.listPrev = null;
    node.listNext = null;
    this.length--;
  }

  shift(): T | null {
    const node = this.head;
    if (node !== null) this.remove(node);
    return node;
  }
}

"""One small file a grammar: something that encloses, with a short and a long member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sample:
    path: str
    text: str  #: `@` is a statement, again and again
    statement: str
    symbols: frozenset[str]
    encloses: str  #: first line of what the long member is in

    @property
    def data(self) -> bytes:
        body = "\n".join(self.statement.replace("#", str(n)) for n in range(90))
        return self.text.replace("@", body).lstrip("\n").encode()


def _sample(path: str, statement: str, symbols: str, encloses: str, text: str) -> Sample:
    return Sample(
        path=path,
        text=text,
        statement=statement,
        symbols=frozenset(symbols.split()),
        encloses=encloses,
    )


SAMPLES: Mapping[str, Sample] = {
    "python": _sample(
        "src/shop.py", "        total = total + price_#",
        "Shop open price_all", "class Shop:", """
class Shop:
    def open(self):
        return True

    def price_all(self):
        total = 0
@
        return total
"""),
    "javascript": _sample(
        "src/shop.js", "    total = total + price#;",
        "Shop open priceAll", "class Shop {", """
class Shop {
  open() { return true; }

  priceAll() {
@
  }
}
"""),
    "typescript": _sample(
        "src/shop.ts", "    total = total + price#;",
        "Shop open priceAll Named", "export class Shop {", """
interface Named { name: string; }

export class Shop {
  open(): boolean { return true; }

  priceAll(): number {
@
  }
}
"""),
    "tsx": _sample(
        "src/shop.tsx", "    total = total + price#;",
        "Shop render priceAll", "class Shop {", """
class Shop {
  render() { return <b>{this.name}</b>; }

  priceAll(): number {
@
  }
}
"""),
    "go": _sample(
        "shop.go", "\ttotal = total + price#",
        "Shop Open PriceAll", "func (s *Shop) PriceAll() int {", """
package shop

type Shop struct{ name string }

func (s *Shop) Open() bool { return true }

func (s *Shop) PriceAll() int {
@
}
"""),
    "java": _sample(
        "src/Shop.java", "    total = total + price#;",
        "Shop open priceAll", "public class Shop {", """
public class Shop {
  boolean open() { return true; }

  int priceAll() {
@
  }
}
"""),
    "kotlin": _sample(
        "src/Shop.kt", "    total = total + price#",
        "Shop open priceAll", "class Shop {", """
class Shop {
  fun open(): Boolean { return true }

  fun priceAll(): Int {
@
  }
}
"""),
    "ruby": _sample(
        "lib/shop.rb", "    total = total + price#",
        "Shop open price_all", "class Shop", """
class Shop
  def open
    true
  end

  def price_all
@
  end
end
"""),
    "rust": _sample(
        "src/shop.rs", "        total = total + price#;",
        "Shop open price_all", "impl Shop {", """
struct Shop { name: String }

impl Shop {
    fn open(&self) -> bool { true }

    fn price_all(&self) -> i64 {
@
    }
}
"""),
    "c": _sample(
        "shop.c", "  total = total + price#;",
        "shop shop_open price_all", "int price_all(void) {", """
struct shop { int name; };

int shop_open(void) { return 1; }

int price_all(void) {
@
}
"""),
    "cpp": _sample(
        "shop.cpp", "    total = total + price#;",
        "Shop open price_all", "class Shop {", """
class Shop {
  bool open() { return true; }

  int price_all() {
@
  }
};
"""),
    "csharp": _sample(
        "Shop.cs", "    total = total + price#;",
        "Shop Open PriceAll", "public class Shop {", """
public class Shop {
  bool Open() { return true; }

  int PriceAll() {
@
  }
}
"""),
    "php": _sample(
        "shop.php", "    $total = $total + $price#;",
        "Shop open priceAll", "class Shop {", """
<?php
class Shop {
  function open() { return true; }

  function priceAll() {
@
  }
}
"""),
    "scala": _sample(
        "Shop.scala", "    total = total + price#",
        "Shop open priceAll", "class Shop {", """
class Shop {
  def open(): Boolean = { true }

  def priceAll(): Int = {
@
    total
  }
}
"""),
    "bash": _sample(
        "shop.sh", "  total=$((total + price#))",
        "shop_open price_all", "price_all() {", """
shop_open() { return 0; }

price_all() {
@
}
"""),
}  # fmt: skip

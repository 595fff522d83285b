(class_declaration name: (_) @name) @definition
(object_declaration name: (_) @name) @definition
(function_declaration name: (_) @name) @definition
